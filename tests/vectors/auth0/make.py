"""Makes what Auth0 gives out, in the shapes that its documentation shows: the export of password hashes that its support
sends (https://auth0.com/docs, «Password Hashes Export»), the export of users (`jobs/users-exports`), and applications as
`auth0 apps list --reveal-secrets --json` prints them. Hashes are made by bcrypt, argon2-cffi and hashlib.

    python3 -m venv venv && venv/bin/pip install bcrypt==5.0.0 argon2-cffi==25.1.0
    venv/bin/python tests/vectors/auth0/make.py

It writes export/password-hashes.ndjson, export/users.ndjson, export/apps.json, joined.ndjson, which has both of each
user in one object, and expected.json.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import argon2
import bcrypt

HERE = pathlib.Path(__file__).parent
hashes, profiles, users, refused = [], [], {}, {}


def salt_of(name, length=16):
    return hashlib.sha256(f"salt of {name}".encode()).digest()[:length]


def b64(octets):
    return base64.b64encode(octets).decode()


def no_pad(octets):
    return b64(octets).rstrip("=")


def user(name, members, *, password=None, alt_id=None, profile=(), **more):
    """A user in both exports; `members` are those of the hash."""
    number = len(hashes)
    oid = hashlib.sha256(f"user {number}".encode()).hexdigest()[:24]
    email = f"{name}@example.test"
    verified = number % 2 == 0
    entry = {
        "_id": {"$oid": oid},
        "email_verified": verified,
        "email": email,
        **members,
        "password_set_date": {"$date": f"2025-01-02T03:04:{number:02}.678Z"},
        "tenant": "test-tenant",
        "connection": "Username-Password-Authentication",
        "_tmp_is_unique": True,
        "identifiers": [{"type": "email", "value": email, "verified": verified}],
    }
    if alt_id:
        entry["alt_id"] = alt_id
    hashes.append(entry)
    user_id = f"auth0|{alt_id or oid}"
    described = {
        "user_id": user_id,
        "email": email,
        "email_verified": verified,
        "name": name.capitalize(),
        "nickname": name,
        "created_at": f"2024-01-02T03:04:{number:02}.678Z",
        "updated_at": "2026-01-02T03:04:05.678Z",
        "last_login": f"2026-01-02T03:04:{number:02}.678Z",
        "last_ip": "192.0.2.1",
        "logins_count": number,
        "identities": [
            {"connection": "Username-Password-Authentication", "user_id": user_id.split("|")[1], "provider": "auth0", "isSocial": False}
        ],
        **dict(profile),
    }
    profiles.append(described)
    if password is None:
        refused[email] = more["reason"]
        return
    users[email] = {"password": password, "sub": user_id, "disabled": False, "roles": [], "email_verified": verified, **more}


def bcrypt_of(password, prefix=b"2b", cost=10):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix)).decode()


def custom(algorithm, value, encoding=None, **more):
    hash = {"value": value} | ({"encoding": encoding} if encoding else {})
    return {"custom_password_hash": {"algorithm": algorithm, "hash": hash, **more}}


def password_of(name):
    return f"test password of {name}"


def right(name, members, **more):
    user(name, members, password=more.pop("password", password_of(name)), **more)


right("anna", {"passwordHash": bcrypt_of(password_of("anna"))})
right("bert", {"passwordHash": bcrypt_of(password_of("bert"))}, profile=[("blocked", True)], disabled=True)
metadata = {"roles": ["editor", "admin"], "plan": "free"}
right("carl", {"passwordHash": bcrypt_of(password_of("carl"))}, profile=[("app_metadata", metadata), ("user_metadata", {"colour": "red"})], roles=["editor", "admin"])
right("dora", {"passwordHash": bcrypt_of(password_of("dora"), cost=11)}, alt_id="euclid")
password = "Prüfwort, мир, 密碼"
right("gerda", {"passwordHash": bcrypt_of(password)}, password=password)
right("fritz", {"passwordHash": bcrypt_of(password_of("fritz"))}, profile=[("username", "fritz.the.first"), ("blocked", False)])
secret = base64.b32encode(salt_of("one-time passwords of hans", 20)).decode()
factors = [{"totp": {"secret": secret}}, {"phone": {"value": "+15555550101"}}]
right("hans", {"passwordHash": bcrypt_of(password_of("hans"))}, profile=[("mfa_factors", factors)], otp=secret)

# Imported to Auth0 with hashes of others, and not logged in since.
right("custom2a", custom("bcrypt", bcrypt_of(password_of("custom2a"), b"2a")))
hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
right("argon2id", custom("argon2", hasher.hash(password_of("argon2id")), "utf8"))
for digest in ["sha1", "sha256", "sha512"]:
    name = f"pbkdf2{digest}"
    salt = salt_of(name)
    output = hashlib.pbkdf2_hmac(digest, password_of(name).encode(), salt, 20000)
    value = f"$pbkdf2-{digest}$i=20000,l={len(output)}${no_pad(salt)}${no_pad(output)}"
    right(name, custom("pbkdf2", value, "utf8"))
for name, members in [("scrypt", {}), ("scryptdefaults", None)]:
    salt = salt_of(name)
    cost, block, parallel = (32768, 8, 2) if members is not None else (16384, 8, 1)
    output = hashlib.scrypt(password_of(name).encode(), salt=salt, n=cost, r=block, p=parallel, dklen=32, maxmem=1 << 27)
    more = {"salt": {"value": salt.hex(), "encoding": "hex"}, "keylen": 32}
    if members is not None:
        more |= {"cost": cost, "blockSize": block, "parallelization": parallel}
    right(name, custom("scrypt", output.hex(), "hex", **more))
for digest in ["sha1", "sha256", "sha512"]:
    name, encoding = f"salted{digest}", "base64" if digest == "sha256" else "hex"
    password, salt = password_of(name).encode(), salt_of(name).hex()
    # A salt is a text unless it says otherwise.
    before, after = hashlib.new(digest, salt.encode() + password).digest(), hashlib.new(digest, password + salt.encode()).digest()
    encoded = lambda octets: octets.hex() if encoding == "hex" else b64(octets)
    right(name, custom(digest, encoded(before), encoding, salt={"value": salt, "position": "prefix"}))
    right(f"{name}after", custom(digest, encoded(hashlib.new(digest, password_of(f"{name}after").encode() + salt.encode()).digest()), encoding, salt={"value": salt, "encoding": "utf8", "position": "suffix"}))
right("saltedhex", custom("sha256", hashlib.sha256(salt_of("saltedhex") + password_of("saltedhex").encode()).hexdigest(), "hex", salt={"value": salt_of("saltedhex").hex(), "encoding": "hex"}))
right("unsalted", custom("sha256", hashlib.sha256(password_of("unsalted").encode()).hexdigest(), "hex"))
salt = salt_of("ldap", 8)
right("ldap", custom("ldap", "{SSHA512}" + b64(hashlib.sha512(password_of("ldap").encode() + salt).digest() + salt), "utf8"))
key = "a key of tests"
mac = hmac.new(key.encode(), password_of("hmac").encode(), "sha256").hexdigest()
right("hmac", {"custom_password_hash": {"algorithm": "hmac", "hash": {"value": mac, "encoding": "hex", "digest": "sha256", "key": {"value": key, "encoding": "utf8"}}}})

# What is not taken.
user("md5", custom("md5", hashlib.md5(b"test").hexdigest(), "hex"), reason="MD5")
user("md4", custom("md4", "0" * 32, "hex"), reason="MD4")
user("smd5", custom("ldap", "{SMD5}" + b64(hashlib.md5(b"test" + salt).digest() + salt), "utf8"), reason="MD5")
user("utf16", custom("sha256", hashlib.sha256("test".encode("utf-16-le")).hexdigest(), "hex", password={"encoding": "utf16le"}), reason="the password is not in UTF-8")
user("nohash", {}, reason="no password")
# Known at another provider: only the export of users has them.
profiles.append({"user_id": "google-oauth2|100000000000000000001", "email": "social@example.test", "email_verified": True, "identities": [{"connection": "google-oauth2", "user_id": "100000000000000000001", "provider": "google-oauth2", "isSocial": True}]})


def ndjson(entries):
    return "".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n" for entry in entries)


def in_one(entry):
    user_id = "auth0|" + entry.get("alt_id", entry["_id"]["$oid"])
    (profile,) = [profile for profile in profiles if profile["user_id"] == user_id]
    return profile | {name: value for name, value in entry.items() if name in ("passwordHash", "custom_password_hash")}


(HERE / "export").mkdir(exist_ok=True)
(HERE / "export/password-hashes.ndjson").write_text(ndjson(hashes))
# The two exports have no order in common.
(HERE / "export/users.ndjson").write_text(ndjson(sorted(profiles, key=lambda profile: profile["user_id"])))
(HERE / "joined.ndjson").write_text(ndjson(in_one(entry) for entry in hashes))

PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"
clients = {}


def app(name, grants, method, lifetime=36000, refresh=None, **more):
    client_id = hashlib.sha256(f"app {name}".encode()).hexdigest()[:32]
    secret = f"test-secret-of-{name}-" + hashlib.sha256(f"secret {name}".encode()).hexdigest()[:40]
    clients[client_id] = {"name": name, "secret": None if method == "none" else secret, "grants": grants, "lifetime": lifetime}
    return {
        "client_id": client_id,
        "tenant": "test-tenant",
        "name": name,
        "description": f"An application of tests: {name}",
        "global": False,
        "client_secret": secret,
        "app_type": "spa" if method == "none" else "regular_web",
        "is_first_party": True,
        "oidc_conformant": True,
        "callbacks": ["https://app.example.test/callback"],
        "allowed_origins": [],
        "web_origins": ["https://app.example.test"],
        "grant_types": grants,
        "jwt_configuration": {"lifetime_in_seconds": lifetime, "secret_encoded": False, "alg": "RS256"},
        "signing_keys": [{"cert": "a certificate", "pkcs7": "the same", "subject": "/CN=test-tenant.example.test"}],
        "sso_disabled": False,
        "cross_origin_authentication": False,
        "custom_login_page_on": True,
        "token_endpoint_auth_method": method,
        "refresh_token": refresh
        or {
            "rotation_type": "non-rotating",
            "expiration_type": "non-expiring",
            "leeway": 0,
            "infinite_token_lifetime": True,
            "infinite_idle_token_lifetime": True,
            "token_lifetime": 31557600,
            "idle_token_lifetime": 2592000,
        },
        **more,
    }


rotating = {
    "rotation_type": "rotating",
    "expiration_type": "expiring",
    "leeway": 0,
    "infinite_token_lifetime": False,
    "infinite_idle_token_lifetime": False,
    "token_lifetime": 2592000,
    "idle_token_lifetime": 1296000,
}
apps = [
    app("web", ["password", PASSWORD_REALM, "refresh_token"], "client_secret_post"),
    app("phone", ["password", "refresh_token", "authorization_code"], "none", 1800, rotating),
    app("machine", ["client_credentials"], "client_secret_basic", app_type="non_interactive"),
    app("page", ["authorization_code", "implicit", "refresh_token"], "none"),
    app("signed", ["password"], "client_secret_post", client_metadata={"team": "one"}),
    {
        "client_id": "0" * 32,
        "tenant": "test-tenant",
        "name": "All Applications",
        "global": True,
        "client_secret": "test-secret-of-all",
        "owners": ["mr|test"],
    },
]
# One that authenticates by a key of its own.
del apps[4]["token_endpoint_auth_method"]
apps[4]["client_authentication_methods"] = {"private_key_jwt": {"credentials": [{"id": "cred_test"}]}}
signed = apps[4]["client_id"]
refused_clients = {signed: "private_key_jwt"}
del clients[signed]
(HERE / "export/apps.json").write_text(json.dumps(apps, indent=2) + "\n")

with open(HERE / "expected.json", "w") as file:
    expected = {"users": users, "refused": refused, "clients": clients, "refused_clients": refused_clients}
    json.dump(expected, file, indent=1, ensure_ascii=False)
    file.write("\n")
