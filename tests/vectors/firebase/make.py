"""Makes export.json and export.csv as `firebase auth:export` writes them: by the exporter of firebase-tools, which asks
this script instead of the service of Google. The hashes are made by firebase-scrypt with a signer key of tests.

    npm install --prefix /tmp/firebase --ignore-scripts firebase-tools@15.34.2
    python3 -m venv venv && venv/bin/pip install firebase-scrypt==0.1.0
    NODE_PATH=/tmp/firebase/node_modules venv/bin/python tests/vectors/firebase/make.py

It writes hash-config.txt too, as the console of Firebase shows it, and expected.json.
"""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import threading

import firebase_scrypt

HERE = pathlib.Path(__file__).parent
SIGNER_KEY = base64.b64encode(hashlib.sha512(b"a signer key of tests").digest()).decode()
SEPARATOR, ROUNDS, MEM_COST = "Bw==", 8, 14

(HERE / "hash-config.txt").write_text(
    "hash_config {\n"
    "  algorithm: SCRYPT,\n"
    f"  base64_signer_key: {SIGNER_KEY},\n"
    f"  base64_salt_separator: {SEPARATOR},\n"
    f"  rounds: {ROUNDS},\n"
    f"  mem_cost: {MEM_COST},\n"
    "}\n"
)

accounts, users, refused = [], {}, {}


def web_safe(text):
    """How the service writes base64; the exporter turns it into the usual form."""
    return text.replace("+", "-").replace("/", "_")


def account(name, password=None, **members):
    number = len(accounts)
    local_id = hashlib.sha256(f"account {number}".encode()).hexdigest()[:28]
    account = {
        "localId": local_id,
        "email": f"{name}@example.test",
        "emailVerified": False,
        "validSince": "1750000000",
        "lastLoginAt": str(1760000000000 + number),
        "createdAt": str(1750000000000 + number),
        "providerUserInfo": [],
    }
    if password is not None:
        salt = base64.b64encode(hashlib.md5(f"salt {number}".encode()).digest()).decode()
        derived = firebase_scrypt.generate_derived_key(password, salt, SEPARATOR, ROUNDS, MEM_COST)
        hash = base64.b64encode(firebase_scrypt.encrypt(base64.b64decode(SIGNER_KEY), derived)).decode()
        assert firebase_scrypt.verify_password(password, hash, salt, SEPARATOR, SIGNER_KEY, ROUNDS, MEM_COST)
        info = {"providerId": "password", "rawId": account["email"], "email": account["email"]}
        account |= {"passwordHash": web_safe(hash), "salt": web_safe(salt), "version": 0}
        account["providerUserInfo"].append(info)
    account |= members
    accounts.append({name: value for name, value in account.items() if value is not None})
    return account


def right(account, password, **more):
    defaults = {"password": password, "disabled": False, "roles": [], "email_verified": account["emailVerified"]}
    users[account["email"]] = defaults | {"sub": account["localId"]} | more


for name, members, more in [
    ("anna", {"emailVerified": True, "displayName": "Anna, \"the first\""}, {}),
    ("bert", {"disabled": True}, {"disabled": True}),
    ("carl", {"customAttributes": '{"role":"editor","level":3}'}, {"roles": ["editor"]}),
    ("dora", {"customAttributes": '{"roles":["editor","admin"]}'}, {"roles": ["editor", "admin"]}),
    ("émile", {"displayName": "Émile Zürcher\nof a second line"}, {}),
    ("fritz", {"phoneNumber": "+15555550100"}, {}),
]:
    password = f"test password of {name}"
    right(account(name, password, **members), password, **more)

# Letters beyond ASCII, and longer than a block of the hash.
password = "Prüfwort, мир, 密碼 " * 10
right(account("gerda", password), password)
# Second factors, whose secrets Firebase gives to nobody.
password = "test password of hans"
enrolled = {"mfaEnrollmentId": "00000000-0000-4000-8000-000000000001", "enrolledAt": "2026-01-02T03:04:05.678Z"}
factors = [enrolled | {"displayName": "phone", "phoneInfo": "+15555550101"}, enrolled | {"totpInfo": {}}]
right(account("hans", password, mfaInfo=factors), password, mfa=2)
# Also known at Google, with a password.
password = "test password of ida"
google = {"providerId": "google.com", "rawId": "100000000000000000001", "email": "ida@example.test", "displayName": "Ida"}
both = account("ida", password)
both["providerUserInfo"].append(google)
right(both, password)

# Without a password: at Google only, by telephone only, anonymous.
account("jan", providerUserInfo=[google | {"email": "jan@example.test"}], emailVerified=True)
refused["jan@example.test"] = "no password"
account("", email=None, phoneNumber="+15555550102")
account("", email=None, providerUserInfo=None, emailVerified=None)
# Imported there with another function, and not logged in since: the exporter keeps such a hash back.
account("karla", "test password of karla", version=3)
refused["karla@example.test"] = "no password"

PROGRAM = """
process.env.FIREBASE_TOKEN_URL = process.argv[1];
const fs = require("fs"), os = require("os");
require("firebase-tools/lib/apiv2").setAccessToken("a token of tests");
const { serialExportUsers } = require("firebase-tools/lib/accountExporter");
(async () => {
  for (const format of ["json", "csv"]) {
    // As lib/commands/auth-export.js does it.
    const writeStream = fs.createWriteStream(process.argv[2] + "/export." + format);
    if (format === "json") writeStream.write('{"users": [' + os.EOL);
    await serialExportUsers("demo-test", { format, writeStream, batchSize: 1000 });
    if (format === "json") writeStream.write("]}");
    await new Promise((resolve) => writeStream.end(resolve));
  }
})();
"""


class Service(http.server.BaseHTTPRequestHandler):
    """What of the service the exporter asks: the accounts in pages of seven."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        begin = int(asked.get("nextPageToken") or 0)
        page = {"users": accounts[begin : begin + 7]}
        if begin + 7 < len(accounts):
            page["nextPageToken"] = str(begin + 7)
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
command = ["node", "-e", PROGRAM, f"http://127.0.0.1:{server.server_port}", str(HERE)]
subprocess.run(command, check=True, env=environment)

with open(HERE / "expected.json", "w") as file:
    json.dump({"users": users, "refused": refused, "without_name": 2}, file, indent=1, ensure_ascii=False)
    file.write("\n")
