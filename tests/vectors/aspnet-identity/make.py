"""Makes the tables of ASP.NET Core Identity as CSV, in the columns of its migrations (Identity 8), with the hashes that
`PasswordHasher` writes: version 3 (marker 0x01: PRF, iterations, length of the salt, each in four octets, salt, key) and
version 2 (marker 0x00: salt, key), which ASP.NET Identity 2 wrote too. The hashes are made by hashlib.

    python3 tests/vectors/aspnet-identity/make.py

It writes export/AspNetUsers.csv, export/AspNetRoles.csv, export/AspNetUserRoles.csv, export/AspNetUserTokens.csv,
export/AspNetUserClaims.csv, and expected.json.
"""

import base64
import csv
import hashlib
import json
import pathlib
import struct
import uuid

HERE = pathlib.Path(__file__).parent
COLUMNS = [
    "Id", "UserName", "NormalizedUserName", "Email", "NormalizedEmail", "EmailConfirmed", "PasswordHash",
    "SecurityStamp", "ConcurrencyStamp", "PhoneNumber", "PhoneNumberConfirmed", "TwoFactorEnabled", "LockoutEnd",
    "LockoutEnabled", "AccessFailedCount",
]  # fmt: skip
PRFS = {"sha1": 0, "sha256": 1, "sha512": 2}

rows, user_roles, users, refused = [], [], {}, {}
roles = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, f"role {name}")) for name in ["Admin", "Editor of texts"]}


def salt_of(name, length=16):
    return hashlib.sha256(f"salt of {name}".encode()).digest()[:length]


def version_2(name, password):
    salt = salt_of(name)
    key = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 1000, 32)
    return base64.b64encode(b"\0" + salt + key).decode()


def version_3(name, password, prf="sha512", iterations=100_000, salt_length=16, key_length=32):
    salt = salt_of(name, salt_length)
    key = hashlib.pbkdf2_hmac(prf, password.encode(), salt, iterations, key_length)
    header = struct.pack(">BIII", 1, PRFS[prf], iterations, salt_length)
    return base64.b64encode(header + salt + key).decode()


def user(name, hash, reason=None, password=None, in_roles=(), lockout="", second_factor=False, confirmed=True, disabled=False):
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"user {name}"))
    email = f"{name}@example.test"
    stamp = hashlib.sha256(name.encode()).hexdigest()[:32].upper()
    row = [identity, name, name.upper(), email, email.upper(), confirmed, hash, stamp]
    row += [str(uuid.uuid5(uuid.NAMESPACE_URL, f"stamp {name}")), "", False, second_factor, lockout, True, 0]
    rows.append([str(value) for value in row])
    user_roles.extend([identity, roles[role]] for role in in_roles)
    if reason:
        refused[name] = reason
    else:
        users[name] = {
            "password": password, "sub": identity, "disabled": disabled, "roles": list(in_roles),
            "email": email, "email_verified": confirmed, "two_factor": second_factor,
        }  # fmt: skip


def right(name, make, password=None, of_user=None, **more):
    password = password or f"test password of {name}"
    user(name, make(name, password, **more), password=password, **(of_user or {}))


right("v2", version_2)
right("v3", version_3)
right("v3sha256", version_3, prf="sha256", iterations=10_000)
right("v3sha1", version_3, prf="sha1", iterations=10_000)
right("v3long", version_3, iterations=210_000, salt_length=32, key_length=64)
right("Anna", version_3, of_user={"in_roles": ["Admin", "Editor of texts"]})
right("bert", version_3, of_user={"in_roles": ["Admin"], "confirmed": False})
right("umlaut", version_3, password="Prüfwort, мир, 密碼")
# Locked for good, as administrators do it; locked until a day that is over.
right("locked", version_3, of_user={"lockout": "9999-12-31 23:59:59.9999999 +00:00", "disabled": True})
right("lockedonce", version_3, of_user={"lockout": "2020-01-02 03:04:05.0000000 +00:00"})
right("iso", version_3, of_user={"lockout": "9999-12-31T23:59:59.9999999+00:00", "disabled": True})
right("factor", version_3, of_user={"second_factor": True})
# The secret of an authenticator, and one of somebody who has only looked at the page that shows it.
secrets = {name: base64.b32encode(salt_of(name, 20)).decode() for name in ["otp", "looked"]}
right("otp", version_3, of_user={"second_factor": True})
right("looked", version_3)
users["otp"]["otp"] = secrets["otp"]
# Without a password: known at another provider. Cut off: a column that was too short.
user("external", "", reason="no password")
user("cut", version_3("cut", "test password")[:40], reason="damaged")
user("webforms", "test password in the clear", reason="no hash")

(HERE / "export").mkdir(exist_ok=True)
for name, columns, lines in [
    ("AspNetUsers", COLUMNS, rows),
    ("AspNetRoles", ["Id", "Name", "NormalizedName", "ConcurrencyStamp"], [[identity, name, name.upper(), ""] for name, identity in roles.items()]),
    ("AspNetUserRoles", ["UserId", "RoleId"], user_roles),
    ("AspNetUserTokens", ["UserId", "LoginProvider", "Name", "Value"], [[users[name]["sub"], "[AspNetUserStore]", "AuthenticatorKey", secret] for name, secret in secrets.items()]),
    ("AspNetUserClaims", ["Id", "UserId", "ClaimType", "ClaimValue"], [[1, users["Anna"]["sub"], "department", "sales"]]),
]:
    with open(HERE / f"export/{name}.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *lines])

with open(HERE / "expected.json", "w") as file:
    json.dump({"users": users, "refused": refused}, file, indent=1, ensure_ascii=False)
    file.write("\n")
