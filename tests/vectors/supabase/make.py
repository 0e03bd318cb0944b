"""Makes the tables of Supabase's auth (gotrue) that have to do with logins, in the columns of its migrations: auth.users,
auth.mfa_factors and auth.identities. The hashes are made by bcrypt, argon2-cffi and firebase-scrypt.

    python3 -m venv venv && venv/bin/pip install bcrypt==5.0.0 argon2-cffi==25.1.0 firebase-scrypt==0.1.0
    venv/bin/python tests/vectors/supabase/make.py

It writes export/users.csv, export/mfa_factors.csv and export/identities.csv, as the console of Supabase and `psql --csv`
write them, postgresql.sql, and expected.json.
"""

import base64
import csv
import hashlib
import json
import pathlib
import uuid

import argon2
import bcrypt
import firebase_scrypt

HERE = pathlib.Path(__file__).parent
TIME = "timestamp with time zone"
USERS = {
    "instance_id": "uuid", "id": "uuid", "aud": "varchar(255)", "role": "varchar(255)", "email": "varchar(255)",
    "encrypted_password": "varchar(255)", "email_confirmed_at": TIME, "invited_at": TIME, "confirmation_token": "varchar(255)",
    "confirmation_sent_at": TIME, "recovery_token": "varchar(255)", "recovery_sent_at": TIME,
    "email_change_token_new": "varchar(255)", "email_change": "varchar(255)", "email_change_sent_at": TIME,
    "last_sign_in_at": TIME, "raw_app_meta_data": "jsonb", "raw_user_meta_data": "jsonb", "is_super_admin": "boolean",
    "created_at": TIME, "updated_at": TIME, "phone": "text", "phone_confirmed_at": TIME, "phone_change": "text",
    "phone_change_token": "varchar(255)", "phone_change_sent_at": TIME, "confirmed_at": TIME,
    "email_change_token_current": "varchar(255)", "email_change_confirm_status": "smallint", "banned_until": TIME,
    "reauthentication_token": "varchar(255)", "reauthentication_sent_at": TIME, "is_sso_user": "boolean",
    "deleted_at": TIME, "is_anonymous": "boolean",
}  # fmt: skip
FACTORS = {
    "id": "uuid", "user_id": "uuid", "friendly_name": "text", "factor_type": "auth.factor_type",
    "status": "auth.factor_status", "created_at": TIME, "updated_at": TIME, "secret": "text", "phone": "text",
    "last_challenged_at": TIME, "web_authn_credential": "jsonb", "web_authn_aaguid": "uuid",
}  # fmt: skip
IDENTITIES = {
    "provider_id": "text", "user_id": "uuid", "identity_data": "jsonb", "provider": "text", "last_sign_in_at": TIME,
    "created_at": TIME, "updated_at": TIME, "email": "text", "id": "uuid",
}  # fmt: skip
MADE, NOW = "2025-01-02 03:04:05.678901+00", "2026-01-02 03:04:05.678901+00"

rows = {"users": [], "mfa_factors": [], "identities": []}
users, refused = {}, {}


def uuid_of(text):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def user(name, hash, password=None, reason=None, expected=(), provider="email", **members):
    identity = uuid_of(f"user {name}")
    email = f"{name}@example.test"
    row = {
        "instance_id": "00000000-0000-0000-0000-000000000000", "id": identity, "aud": "authenticated",
        "role": "authenticated", "email": email, "encrypted_password": hash, "email_confirmed_at": MADE,
        "confirmation_token": "", "recovery_token": "", "email_change_token_new": "", "email_change": "",
        "last_sign_in_at": NOW, "raw_app_meta_data": {"provider": provider, "providers": [provider]},
        "raw_user_meta_data": {"sub": identity, "email": email, "email_verified": True, "phone_verified": False},
        "created_at": MADE, "updated_at": NOW, "phone_change": "", "phone_change_token": "", "confirmed_at": MADE,
        "email_change_token_current": "", "email_change_confirm_status": 0, "reauthentication_token": "",
        "is_sso_user": False, "is_anonymous": False, **members,
    }  # fmt: skip
    rows["users"].append(row)
    login = row["email"] or row.get("phone")
    data = {"sub": identity, "email": row["email"], "email_verified": False, "phone_verified": False}
    rows["identities"].append(
        {"provider_id": identity, "user_id": identity, "identity_data": data, "provider": provider, "last_sign_in_at": NOW, "created_at": MADE, "updated_at": MADE, "email": row["email"], "id": uuid_of(f"identity {name}")}
    )  # fmt: skip
    if reason:
        refused[login or name] = reason
    else:
        users[login] = {
            "password": password, "sub": identity, "disabled": False, "roles": [],
            "email_verified": bool(row["email_confirmed_at"]), **dict(expected),
        }  # fmt: skip
    return identity


def password_of(name):
    return f"test password of {name}"


def bcrypt_of(password, prefix=b"2a", cost=10):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix)).decode()


def right(name, hash=None, **more):
    password = more.pop("password", password_of(name))
    return user(name, hash or bcrypt_of(password), password, **more)


right("anna")
right("bert", bcrypt_of(password_of("bert"), b"2b"))
hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
right("argon2id", hasher.hash(password_of("argon2id")))
right("argon2i", argon2.PasswordHasher(2, 8192, 1, type=argon2.Type.I).hash(password_of("argon2i")))
# From Firebase, with the parameters of its project in each hash.
key = base64.b64encode(hashlib.sha512(b"a signer key of tests").digest()).decode()
salt = base64.b64encode(hashlib.md5(b"salt of firebase").digest()).decode()
derived = firebase_scrypt.generate_derived_key(password_of("firebase"), salt, "Bw==", 8, 14)
output = base64.b64encode(firebase_scrypt.encrypt(base64.b64decode(key), derived)).decode()
right("firebase", f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={key}${salt}${output}")
right("jürgen", password="Prüfwort, мир, 密碼")
metadata = {"provider": "email", "providers": ["email"], "roles": ["editor", "admin"], "role": "manager"}
right("carl", raw_app_meta_data=metadata, raw_user_meta_data={"full_name": "Carl, \"the first\"", "roles": ["self-made"]}, expected={"app_metadata_roles": ["editor", "admin"]})
right("unconfirmed", email_confirmed_at=None, confirmed_at=None, last_sign_in_at=None, expected={"disabled": True})
right("banned", banned_until="2099-01-01 00:00:00+00", expected={"disabled": True})
right("bannedonce", banned_until="2020-01-01 00:00:00+00")
right("phone", email=None, phone="15555550100", email_confirmed_at=None, phone_confirmed_at=MADE)
deleted = user("deleted", bcrypt_of(password_of("deleted")), reason="deleted", deleted_at=NOW)

secret = base64.b32encode(hashlib.sha256(b"one-time passwords").digest()[:20]).decode()
totp = right("totp", expected={"otp": secret})
other = base64.b32encode(hashlib.sha256(b"not verified").digest()[:20]).decode()
for name, kind, status, value, phone in [("tablet", "totp", "verified", secret, None), ("new", "totp", "unverified", other, None), ("number", "phone", "verified", None, "15555550101")]:
    rows["mfa_factors"].append(
        {"id": uuid_of(f"factor {name}"), "user_id": totp, "friendly_name": name, "factor_type": kind, "status": status, "created_at": MADE, "updated_at": MADE, "secret": value, "phone": phone}
    )  # fmt: skip

user("google", "", reason="no password", provider="google")
user("sso", None, reason="no password", provider="sso:00000000-0000-4000-8000-000000000000", is_sso_user=True)
user("anonymous", "", reason="no password", email=None, raw_app_meta_data={}, raw_user_meta_data={}, is_anonymous=True)


def cell(value):
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    # PostgreSQL writes t and f.
    return {True: "t", False: "f", None: None}.get(value, value) if isinstance(value, bool | None) else str(value)


(HERE / "export").mkdir(exist_ok=True)
sql = "CREATE SCHEMA auth;\nCREATE TYPE auth.factor_type AS ENUM ('totp', 'webauthn', 'phone');\nCREATE TYPE auth.factor_status AS ENUM ('unverified', 'verified');\n"
for table, columns in [("users", USERS), ("mfa_factors", FACTORS), ("identities", IDENTITIES)]:
    lines = ",\n".join(f'  "{name}" {of}' for name, of in columns.items())
    sql += f"CREATE TABLE auth.{table} (\n{lines}\n);\n"
    with open(HERE / f"export/{table}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows[table]:
            values = [cell(row.get(name)) for name in columns]
            # A text without a letter is quoted there, and nothing is not.
            writer.writerow(["" if value is None else value for value in values])
            quoted = ["NULL" if value is None else "'" + value.replace("'", "''") + "'" for value in values]
            sql += f"INSERT INTO auth.{table} VALUES ({', '.join(quoted)});\n"
(HERE / "postgresql.sql").write_text(sql)
with open(HERE / "expected.json", "w") as file:
    json.dump({"users": users, "refused": refused}, file, indent=1, ensure_ascii=False)
    file.write("\n")
