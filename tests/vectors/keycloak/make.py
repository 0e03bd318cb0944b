"""Makes the exports of this folder with a real Keycloak: it starts one on loopback, makes a realm through the
administration API, logs every user in, stops it, and runs `kc.sh export` in both forms.

    mvn dependency:get -Dartifact=org.keycloak:keycloak-quarkus-dist:26.4.0:tar.gz -Dtransitive=false
    tar xzf ~/.m2/repository/org/keycloak/keycloak-quarkus-dist/26.4.0/keycloak-quarkus-dist-26.4.0.tar.gz -C /tmp
    python3 -m venv venv && venv/bin/pip install Authlib==1.9.8 PyJWT==2.15.1 cryptography requests
    venv/bin/python tests/vectors/keycloak/make.py /tmp/keycloak-26.4.0    # with a Java of 17 or later

It writes realm.json (`--file`), realm/ (`--dir --users different_files`), and expected.json. The database of that
Keycloak is made anew.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / "../../interop/moving"))
from application import Application  # noqa: E402

HOME = pathlib.Path(sys.argv[1])
PORT, MANAGEMENT_PORT = 18081, 19001
BASE = f"http://127.0.0.1:{PORT}"
REALM = "shop"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
bearer = {"token": "", "until": 0}


def send(method, path, body=None, form=None, headers=()):
    headers = dict(headers)
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    with opener.open(urllib.request.Request(BASE + path, data, headers, method=method)) as answer:
        text = answer.read()
        return answer.headers.get("Location"), json.loads(text) if text else None


def admin(method, path, body=None):
    """Calls the administration API; returns the id of what was made, or what was asked for."""
    if time.time() > bearer["until"]:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "test-admin"}
        _, tokens = send("POST", "/realms/master/protocol/openid-connect/token", form=form)
        bearer.update(token=tokens["access_token"], until=time.time() + 30)
    headers = {"Authorization": f"Bearer {bearer['token']}"}
    location, answer = send(method, "/admin/realms" + path, body, headers=headers)
    return location.rsplit("/", 1)[1] if location else answer


def in_realm(method, path, body=None):
    return admin(method, f"/{REALM}{path}", body)


def totp(secret, at, digest="sha1", digits=6, period=30):
    mac = hmac.new(secret, struct.pack(">Q", int(at) // period), digest).digest()
    begin = mac[-1] & 15
    return str((int.from_bytes(mac[begin : begin + 4]) & 0x7FFFFFFF) % 10**digits).zfill(digits)


HASHERS = {
    "pbkdf2": "hashAlgorithm(pbkdf2) and hashIterations(20000)",
    "pbkdf2sha256": "hashAlgorithm(pbkdf2-sha256) and hashIterations(27500)",
    "pbkdf2sha256default": "hashAlgorithm(pbkdf2-sha256)",
    "pbkdf2sha512": "hashAlgorithm(pbkdf2-sha512)",
    "argon2": "hashAlgorithm(argon2)",
    "argon2costly": "hashAlgorithm(argon2) and hashIterations(8)",
}
users, refused, clients, ids = {}, {}, {}, {}


def user(name, password=None, *, more_credentials=(), expected=(), **members):
    credentials = [{"type": "password", "value": password, "temporary": False}] if password else []
    # Without these, the profile is not complete, and Keycloak refuses the login.
    profile = {"email": f"{name.replace('ü', 'ue')}@example.test", "firstName": "Test", "lastName": name}
    body = {"username": name, "enabled": True, "credentials": credentials + list(more_credentials), **profile, **members}
    ids[name] = in_realm("POST", "/users", body)
    if password:
        users[name] = {
            "password": password, "sub": ids[name], "disabled": not body["enabled"], "roles": [], "client_roles": {},
            "groups": [], "email_verified": bool(members.get("emailVerified")), **dict(expected),
        }  # fmt: skip


def password_of(name):
    return f"test password of {name}"


def fill():
    admin("POST", "", {"realm": REALM, "enabled": True})
    settings = {"accessTokenLifespan": 300, "ssoSessionIdleTimeout": 1800, "ssoSessionMaxLifespan": 36000}
    in_realm("PUT", "", settings)
    profile = in_realm("GET", "/users/profile")
    in_realm("PUT", "/users/profile", profile | {"unmanagedAttributePolicy": "ENABLED"})

    # Roles: one is made of others. Groups: one is within another, and gives a role to those in it.
    for name in ["reader", "editor", "admin"]:
        in_realm("POST", "/roles", {"name": name, "description": f"The role {name}"})
    roles = {name: in_realm("GET", f"/roles/{name}") for name in ["reader", "editor", "admin"]}
    in_realm("POST", "/roles/admin/composites", [roles["reader"], roles["editor"]])
    staff = in_realm("POST", "/groups", {"name": "staff"})
    berlin = in_realm("POST", f"/groups/{staff}/children", {"name": "Berlin"})
    in_realm("POST", f"/groups/{berlin}/role-mappings/realm", [roles["reader"]])

    make_clients()
    api = clients["api"]["uuid"]
    in_realm("POST", f"/clients/{api}/roles", {"name": "report"})
    report = in_realm("GET", f"/clients/{api}/roles/report")

    for name, policy in HASHERS.items():
        in_realm("PUT", "", {"passwordPolicy": policy})
        user(name, password_of(name))
        # Before the policy changes: a later login would replace the hash.
        log_in_and_fail(name)
    in_realm("PUT", "", {"passwordPolicy": ""})

    user("anna", password_of("anna"), emailVerified=True, attributes={"department": ["sales", "support"], "locale": ["de"]})
    in_realm("POST", f"/users/{ids['anna']}/role-mappings/realm", [roles["admin"]])
    in_realm("POST", f"/users/{ids['anna']}/role-mappings/clients/{api}", [report])
    in_realm("PUT", f"/users/{ids['anna']}/groups/{staff}", {})
    users["anna"].update(roles=["admin"], client_roles={"api": ["report"]}, groups=["/staff"])
    user("berlin", password_of("berlin"))
    in_realm("PUT", f"/users/{ids['berlin']}/groups/{berlin}", {})
    users["berlin"].update(groups=["/staff/Berlin"])
    user("jürgen", "Prüfwort, мир, 密碼", lastName="Groß")
    user("disabled", password_of("disabled"), enabled=False)
    user("temporary", password_of("temporary"), requiredActions=["UPDATE_PASSWORD"], expected={"required_actions": ["UPDATE_PASSWORD"]})

    # One-time passwords: two authenticators, of which Keycloak stores the secret as it is.
    for name, label, digest, digits in [("totp", "phone", "SHA1", 6), ("totpsha256", "tablet", "SHA256", 8)]:
        secret = hashlib.sha256(f"secret of {name}".encode()).hexdigest()[:20]
        data = {"subType": "totp", "digits": digits, "counter": 0, "period": 30, "algorithm": f"Hmac{digest}"}
        otp = {"type": "otp", "userLabel": label, "secretData": json.dumps({"value": secret}), "credentialData": json.dumps(data)}
        shown = {"secret": base64.b32encode(secret.encode()).decode(), "label": label, "digest": digest, "digits": digits}
        user(name, password_of(name), more_credentials=[otp], expected={"otp": shown})

    user("nopassword")
    refused["nopassword"] = "no password"
    in_realm("POST", "/identity-provider/instances", {"alias": "elsewhere", "providerId": "oidc", "enabled": True, "config": {"clientId": "test", "clientSecret": "test-secret-of-elsewhere", "tokenUrl": "https://elsewhere.example.test/token", "authorizationUrl": "https://elsewhere.example.test/auth"}})
    user("elsewhere")
    in_realm("POST", f"/users/{ids['elsewhere']}/federated-identity/elsewhere", {"identityProvider": "elsewhere", "userId": "1", "userName": "elsewhere"})
    refused["elsewhere"] = "no password"


def client(name, secret=True, /, **members):
    secret = f"test-secret-of-{name}-" + hashlib.sha256(name.encode()).hexdigest()[:32] if secret else None
    body = {"clientId": name, "standardFlowEnabled": False, "publicClient": secret is None, **members}
    if secret:
        body["secret"] = secret
    uuid = in_realm("POST", "/clients", body)
    clients[name] = {"uuid": uuid, "secret": secret, "disabled": not members.get("enabled", True)}


def make_clients():
    in_realm("POST", "/client-scopes", {"name": "reports", "protocol": "openid-connect", "attributes": {"include.in.token.scope": "true"}})
    (reports,) = [scope for scope in in_realm("GET", "/client-scopes") if scope["name"] == "reports"]
    client("web", directAccessGrantsEnabled=True, standardFlowEnabled=True, redirectUris=["https://app.example.test/*"], name="The web page")
    in_realm("PUT", f"/clients/{clients['web']['uuid']}/optional-client-scopes/{reports['id']}")
    client("phone", False, directAccessGrantsEnabled=True)
    client("api", serviceAccountsEnabled=True)
    mapper = {"name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper", "config": {"included.client.audience": "api", "access.token.claim": "true"}}
    custom = {"name": "audience of shop", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper", "config": {"included.custom.audience": "https://api.example.test", "access.token.claim": "true"}}
    lifetimes = {"access.token.lifespan": "120", "client.session.max.lifespan": "7200", "client.session.idle.timeout": "900"}
    client("shop", directAccessGrantsEnabled=True, attributes=lifetimes, protocolMappers=[mapper, custom])
    client("page", False, standardFlowEnabled=True, redirectUris=["https://app.example.test/*"])
    client("old", directAccessGrantsEnabled=True, enabled=False)
    client("bearer", bearerOnly=True)


def log_in(name, password, client="web", **more):
    form = {"grant_type": "password", "client_id": client, "username": name, "password": password, **more}
    if clients[client]["secret"]:
        form["client_secret"] = clients[client]["secret"]
    _, tokens = send("POST", f"/realms/{REALM}/protocol/openid-connect/token", form=form)
    payload = tokens["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def log_in_and_fail(name):
    """Keycloak itself says who can log in, and with what."""
    more = {}
    user = users[name]
    if "otp" in user:
        otp = user["otp"]
        secret = base64.b32decode(otp["secret"])
        more["totp"] = totp(secret, time.time(), otp["digest"].lower(), otp["digits"])
    barred = user["disabled"] or "required_actions" in user
    for password in [user["password"], user["password"] + "x"]:
        try:
            claims = log_in(name, password, **more)
            assert not barred and password == user["password"], name
            assert claims["sub"] == user["sub"]
        except urllib.error.HTTPError as error:
            assert barred or password != user["password"], (name, error.read())


def log_others_in():
    for name in users.keys() - set(HASHERS):
        log_in_and_fail(name)
    # The application that moves (`tests/interop/moving`) is in order before it does.
    for client, audience in [("web", "account"), ("shop", "api"), ("phone", "account")]:
        moving = Application(f"{BASE}/realms/{REALM}", client, clients[client]["secret"], audience)
        assert moving.is_in_order("anna", users["anna"]["password"], users["anna"]["sub"])
    for name in ["phone", "shop"]:
        claims = log_in("anna", users["anna"]["password"], name)
        clients[name]["audiences"] = claims.get("aud")
        clients[name]["lifetime"] = claims["exp"] - claims["iat"]


environment = os.environ | {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": "test-admin"}
kc = str(HOME / "bin/kc.sh")
shutil.rmtree(HOME / "data", ignore_errors=True)
command = [kc, "start-dev", "--http-host=127.0.0.1", f"--http-port={PORT}", f"--http-management-port={MANAGEMENT_PORT}", "--cache=local"]
with open(HOME / "server.log", "w") as log:
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(240):
            try:
                send("GET", "/realms/master")
                break
            except OSError:
                time.sleep(1)
        fill()
        log_others_in()
    finally:
        server.terminate()
        server.wait()

shutil.rmtree(HERE / "realm", ignore_errors=True)
for target in [["--file", str(HERE / "realm.json")], ["--dir", str(HERE / "realm"), "--users", "different_files", "--users-per-file", "8"]]:
    subprocess.run([kc, "export", "--realm", REALM, *target], check=True, capture_output=True, env=environment)

# The keys by which that realm signed belong in no repository, although nobody else has used them.
for path in [HERE / "realm.json", HERE / f"realm/{REALM}-realm.json"]:
    text = path.read_text()
    for provider in json.loads(text)["components"]["org.keycloak.keys.KeyProvider"]:
        for name in {"privateKey", "certificate", "secret"} & provider["config"].keys():
            (value,) = provider["config"][name]
            text = text.replace(value, "removed")
    path.write_text(text)

for one in clients.values():
    del one["uuid"]
with open(HERE / "expected.json", "w") as file:
    json.dump({"users": users, "refused": refused, "clients": clients}, file, indent=1, ensure_ascii=False)
    file.write("\n")
