"""Makes the LDIF of this folder with a real slapd: it hashes with slappasswd, fills a directory, logs every user in by a
bind, and exports with slapcat and with ldapsearch.

    apt-get install slapd slapd-contrib ldap-utils
    python3 -m venv venv && venv/bin/pip install argon2-cffi
    venv/bin/python tests/vectors/ldap/make.py

It writes slapcat.ldif, ldapsearch.ldif and expected.json. Nothing listens but a socket in a temporary folder.
"""

import base64
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.parse

import argon2

HERE = pathlib.Path(__file__).parent
ROOT = "cn=admin,dc=example,dc=test"
ROOT_PASSWORD = "test-root-of-the-directory"
MODULES = ["back_mdb", "pw-sha2", "pw-pbkdf2", "argon2", "pw-apr1", "memberof", "ppolicy"]


def slappasswd(scheme, password, salt=None):
    """A hash of slappasswd. Its crypt(3) takes a format of the salt, which names the function."""
    command = ["slappasswd", "-n"]
    # It knows a scheme only if its module was named before, and loads one module.
    for begin, module in [("{SHA", "pw-sha2"), ("{SSHA", "pw-sha2"), ("{PB", "pw-pbkdf2"), ("{AR", "argon2"), ("{AP", "pw-apr1")]:
        if scheme.startswith(begin):
            command += ["-o", f"module-load={module}"]
    command += ["-h", scheme, "-s", password]
    if salt:
        command += ["-c", salt]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# The name, what makes the hash, and whether an import can take it.
SCHEMES = [
    ("sha", "{SHA}", None, True),
    ("ssha", "{SSHA}", None, True),
    ("sha256", "{SHA256}", None, True),
    ("ssha256", "{SSHA256}", None, True),
    ("sha512", "{SHA512}", None, True),
    ("ssha512", "{SSHA512}", None, True),
    ("crypt5", "{CRYPT}", "$5$%.16s", True),
    ("crypt6", "{CRYPT}", "$6$%.16s", True),
    ("crypt6slow", "{CRYPT}", "$6$rounds=200000$%.16s", True),
    ("crypt2y", "{CRYPT}", "$2y$10$%.22s", True),
    ("argon2", "{ARGON2}", None, True),
    ("pbkdf2", "{PBKDF2}", None, True),
    ("pbkdf2sha1", "{PBKDF2-SHA1}", None, True),
    ("pbkdf2sha256", "{PBKDF2-SHA256}", None, True),
    ("pbkdf2sha512", "{PBKDF2-SHA512}", None, True),
    ("md5", "{MD5}", None, False),
    ("smd5", "{SMD5}", None, False),
    ("apr1", "{APR1}", None, False),
    ("crypt1", "{CRYPT}", "$1$%.8s", False),
    ("cryptdes", "{CRYPT}", None, False),
]

entries = []
users = {}
refused = {}


def person(uid, passwords, more=(), dn=None, cn=None):
    """Adds an entry; the passwords are as userPassword has them."""
    dn = dn or f"uid={uid},ou=people,dc=example,dc=test"
    lines = [("dn", dn), ("objectClass", "inetOrgPerson"), ("cn", cn or uid.capitalize()), ("sn", "Test")]
    if ("uid",) not in [line[:1] for line in more]:
        lines.append(("uid", uid))
    lines += list(more) + [("userPassword", password) for password in passwords]
    entries.append(lines)
    return dn


def right(name, password, dn, **more):
    users[name] = {"password": password, "dn": dn, "disabled": False, "groups": [], **more}


for uid, scheme, salt, is_taken in SCHEMES:
    password = f"test password of {uid}"
    dn = person(uid, [slappasswd(scheme, password, salt)], [("mail", f"{uid}@example.test")])
    right(uid, password, dn) if is_taken else refused.update({uid: "a format that is not taken"})

# libargon2 writes argon2id too, and slapd verifies it.
password = "test password of argon2id"
argon2id = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(password)
right("argon2id", password, person("argon2id", ["{ARGON2}" + argon2id]))

# Letters beyond ASCII: in the DN, in the password, in a line that is folded.
password = "Prüfwort für Jürgen, мир"
dn = person("jürgen", [slappasswd("{SSHA}", password)], [("description", "Größe und Güte " * 12)], cn="Jürgen Groß")
right("jürgen", password, dn)
# A DN with a comma in a value, a password that is a long line, a text that is folded.
password = "test password of comma"
dn = person(
    "comma",
    [slappasswd("{SSHA512}", password)],
    [("description", "a line that is folded, because it is longer than the width of a line in LDIF " * 3)],
    dn="cn=Comma\\, Anna,ou=people,dc=example,dc=test",
    cn="Comma, Anna",
)
right("comma", password, dn)
# Two names, of which the first relative DN has one.
password = "test password of two names"
dn = person("second", [slappasswd("{SSHA}", password)], [("uid", "first"), ("uid", "second")])
right("second", password, dn)
# Two passwords, both of which are right in the directory.
person("twopasswords", [slappasswd("{SSHA}", "test password one"), slappasswd("{CRYPT}", "test password two", "$6$%.16s")])
refused["twopasswords"] = "two hashes"
# Two values, of which one is of a format that can be taken.
password = "test password of mixed"
dn = person("mixed", [slappasswd("{SMD5}", password), slappasswd("{SSHA}", password)])
right("mixed", password, dn)
# A password that is readable, with and without its scheme; one that another program checks.
person("plain", ["test password in the clear"])
person("cleartext", ["{CLEARTEXT}test password in the clear"])
person("sasl", ["{SASL}sasl@EXAMPLE.TEST"])
refused.update(plain="readable", cleartext="readable", sasl="another program checks it")
# No password at all.
person("nopassword", [])
refused["nopassword"] = "no password"
# Locked: for good, and since a moment.
for uid, since in [("locked", "000001010000Z"), ("lockedsince", "20260102030405Z")]:
    password = f"test password of {uid}"
    dn = person(uid, [slappasswd("{SSHA}", password)])
    right(uid, password, dn, disabled=True, locked=since)


def ldif_line(name, value):
    return f"{name}:: {base64.b64encode(value.encode()).decode()}"


def group(cn, classes, member_of, members):
    lines = [("dn", f"cn={cn},ou=groups,dc=example,dc=test"), ("cn", cn)]
    lines += [("objectClass", name) for name in classes]
    lines += [("gidNumber", "10001")] if "posixGroup" in classes else []
    lines += [(member_of, users[name]["dn"] if member_of == "member" else name) for name in members]
    entries.append(lines)
    for name in members:
        users[name]["groups"].append(cn)


group("admins", ["groupOfNames"], "member", ["ssha", "jürgen", "comma"])
group("Readers of reports", ["groupOfNames"], "member", ["ssha", "sha"])
group("staff", ["posixGroup"], "memberUid", ["argon2", "ssha"])

base = [
    [("dn", "dc=example,dc=test"), ("objectClass", "dcObject"), ("objectClass", "organization"), ("dc", "example"), ("o", "Example")],
    [("dn", "ou=people,dc=example,dc=test"), ("objectClass", "organizationalUnit"), ("ou", "people")],
    [("dn", "ou=groups,dc=example,dc=test"), ("objectClass", "organizationalUnit"), ("ou", "groups")],
]


def run(command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "db").mkdir()
    schemas = [f"include /etc/ldap/schema/{name}.schema" for name in ["core", "cosine", "nis", "inetorgperson"]]
    config = schemas + ["modulepath /usr/lib/ldap"] + [f"moduleload {name}" for name in MODULES]
    config += [
        "password-hash {CLEARTEXT}",
        "database mdb",
        'suffix "dc=example,dc=test"',
        f'rootdn "{ROOT}"',
        f"rootpw {ROOT_PASSWORD}",
        f"directory {folder}/db",
        "overlay memberof",
    ]
    (folder / "slapd.conf").write_text("\n".join(config) + "\n")
    url = "ldapi://" + urllib.parse.quote(str(folder / "socket"), safe="")
    server = subprocess.Popen(["slapd", "-d", "0", "-h", url, "-f", str(folder / "slapd.conf")])
    try:
        while not (folder / "socket").exists():
            time.sleep(0.1)
        as_root = ["-H", url, "-x", "-D", ROOT, "-w", ROOT_PASSWORD]
        text = "\n\n".join("\n".join(ldif_line(*line) for line in lines) for lines in base + entries) + "\n"
        run(["ldapadd", *as_root], input=text)
        # The directory itself says which passwords are right, before anybody is locked.
        for user in users.values():
            run(["ldapwhoami", "-H", url, "-x", "-D", user["dn"], "-w", user["password"]])
            wrong = ["ldapwhoami", "-H", url, "-x", "-D", user["dn"], "-w", user["password"] + "x"]
            assert subprocess.run(wrong, capture_output=True).returncode == 49
        for user in users.values():
            if "locked" in user:
                change = f"{ldif_line('dn', user['dn'])}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: {user['locked']}\n"
                run(["ldapmodify", *as_root], input=change)
        found = run(["ldapsearch", *as_root, "-LLL", "-b", "dc=example,dc=test", "*", "+"])
        (HERE / "ldapsearch.ldif").write_text(found)
    finally:
        server.terminate()
        server.wait()
    exported = run(["slapcat", "-f", str(folder / "slapd.conf")])
    (HERE / "slapcat.ldif").write_text(exported)

# What was made up by the directory: the identities.
dn = None
for line in exported.replace("\n ", "").split("\n"):
    name, _, value = line.partition(":")
    value = base64.b64decode(value[1:]).decode() if value.startswith(":") else value.strip()
    # The directory writes a comma in a value as \2C.
    dn = value.replace("\\2C", "\\,") if name == "dn" else dn
    for user in users.values():
        if name == "entryUUID" and user["dn"] == dn:
            user["sub"] = value
assert all("sub" in user for user in users.values())
for user in users.values():
    user.pop("locked", None)
with open(HERE / "expected.json", "w") as file:
    json.dump({"users": users, "refused": refused}, file, indent=1, ensure_ascii=False)
    file.write("\n")
