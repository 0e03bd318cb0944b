"""Makes password-hashes.json: hashes as the libraries write them that people come from.

    python3 -m venv venv && venv/bin/pip install passlib==1.7.4 bcrypt==4.3.0 Django==5.2.19 Werkzeug==3.1.9 \\
        argon2-cffi==25.1.0 pwdlib==0.3.1
    npm install --no-save bcrypt@6.0.0 bcryptjs@3.0.3
    venv/bin/python tests/vectors/make_password_hashes.py > tests/vectors/password-hashes.json

Costs are low, so that the tests are fast, but for one hash of each library at its default.
"""

import json
import subprocess
import sys
import warnings
from importlib.metadata import version

import argon2
import bcrypt
import django
import pwdlib
import werkzeug.security
from django.conf import settings
from passlib import hash as passlib

warnings.simplefilter("ignore")
settings.configure()
django.setup()
from django.contrib.auth import hashers  # noqa: E402

PASSWORDS = [
    "",
    "secret",
    "correct horse battery staple",
    " a  b ",
    "a$b:c",
    "p\u00e4ssw\u00f6rd",
    "pa\u0308sswo\u0308rd",
    # A space that is prepared as U+0020; characters that no password set here has.
    "fern\u00a0lamp",
    "fern\tlamp",
    "\U0001f469\u200d\U0001f4bb fern",
    "\u043f\u0430\u0440\u043e\u043b\u044c",
    "\u5bc6\u7801\U0001f511",
    "a" * 71,
    "a" * 72,
    "a" * 73,
    "0123456789" * 10,
    # A letter of two octets, of which bcrypt reads one.
    "x" + "\u00e9" * 40,
]
vectors = []


def add(made_by, form, password, text, also=()):
    """`also`: other passwords that the library takes for right."""
    vectors.append(
        {"made_by": made_by, "format": form, "password": password, "hash": text, "also": list(also)}
    )


def cut(password):
    """What a library that reads 72 octets takes for the same password."""
    octets = password.encode()
    if len(octets) < 72:
        return []
    other = octets[:72].decode(errors="ignore")
    return [other + "!" * 9] if len(other.encode()) == 72 else []


def of_passlib(form, handler, ignores_the_rest=False):
    library = f"passlib {version('passlib')}"
    for password in PASSWORDS:
        text = handler.hash(password)
        also = cut(password) if ignores_the_rest else []
        assert all(handler.verify(right, text) for right in [password, *also])
        add(library, form, password, text, also)


def of_django(form, hasher, **options):
    library = f"Django {version('Django')}"
    for password in PASSWORDS:
        text = hasher.encode(password, hasher.salt(), **options)
        assert hasher.verify(password, text)
        add(library, form, password, text)


def of_werkzeug(method):
    library = f"Werkzeug {version('Werkzeug')}"
    for password in PASSWORDS:
        text = werkzeug.security.generate_password_hash(password, method)
        assert werkzeug.security.check_password_hash(text, password)
        add(library, method.rsplit(":", 1)[0] if "pbkdf2" in method else "scrypt", password, text)


for ident in ["2a", "2b", "2y"]:
    of_passlib(f"bcrypt ${ident}$", passlib.bcrypt.using(rounds=4, ident=ident), True)
of_passlib("bcrypt-sha256 v2", passlib.bcrypt_sha256.using(rounds=4))
of_passlib("bcrypt-sha256 v1", passlib.bcrypt_sha256.using(rounds=4, version=1, ident="2a"))
of_passlib("pbkdf2-sha256", passlib.pbkdf2_sha256.using(rounds=100))
of_passlib("pbkdf2-sha512", passlib.pbkdf2_sha512.using(rounds=100))
of_passlib("scrypt", passlib.scrypt.using(rounds=4))
of_passlib("argon2id", passlib.argon2.using(rounds=1, memory_cost=64, parallelism=2))
add(f"passlib {version('passlib')}", "bcrypt at its default", "secret", passlib.bcrypt.hash("secret"))
text = passlib.pbkdf2_sha256.hash("secret")
add(f"passlib {version('passlib')}", "pbkdf2-sha256 at its default", "secret", text)
text = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
assert passlib.bcrypt.verify("secret", text)
add("FastAPI's tutorial", "bcrypt", "secret", text)

for password in PASSWORDS:
    octets = password.encode()[:72]
    text = bcrypt.hashpw(octets, bcrypt.gensalt(4)).decode()
    add(f"bcrypt {version('bcrypt')} (PyPI)", "bcrypt $2b$", password, text, cut(password))

of_django("pbkdf2_sha256", hashers.PBKDF2PasswordHasher(), iterations=100)
scrypt = hashers.ScryptPasswordHasher()
of_django("scrypt", scrypt, n=16, r=8, p=2)
cheap = hashers.BCryptSHA256PasswordHasher()
cheap.rounds = 4
for password in PASSWORDS:
    text = cheap.encode(password, cheap.salt())
    assert cheap.verify(password, text)
    add(f"Django {version('Django')}", "bcrypt_sha256", password, text)
plain = hashers.BCryptPasswordHasher()
plain.rounds = 4
for password in [password for password in PASSWORDS if len(password.encode()) <= 72]:
    text = plain.encode(password, plain.salt())
    assert plain.verify(password, text)
    add(f"Django {version('Django')}", "bcrypt", password, text)
cheap = hashers.Argon2PasswordHasher()
cheap.time_cost, cheap.memory_cost, cheap.parallelism = 1, 64, 2
for password in PASSWORDS:
    text = cheap.encode(password, cheap.salt())
    assert cheap.verify(password, text)
    add(f"Django {version('Django')}", "argon2", password, text)
for hasher in [hashers.PBKDF2PasswordHasher(), scrypt, hashers.Argon2PasswordHasher()]:
    text = hasher.encode("secret", hasher.salt())
    add(f"Django {version('Django')}", f"{hasher.algorithm} at its default", "secret", text)

for method in ["scrypt:16:8:2", "pbkdf2:sha256:100", "pbkdf2:sha512:100"]:
    of_werkzeug(method)
for method in ["scrypt", "pbkdf2"]:
    text = werkzeug.security.generate_password_hash("secret", method)
    add(f"Werkzeug {version('Werkzeug')}", f"{method} at its default", "secret", text)

library = f"argon2-cffi {version('argon2-cffi')}"
for kind, form in [(argon2.Type.ID, "argon2id"), (argon2.Type.I, "argon2i")]:
    for at in [0x10, 0x13]:
        for password in PASSWORDS:
            salt = bytes(range(16))
            text = argon2.low_level.hash_secret(password.encode(), salt, 2, 96, 3, 24, kind, at)
            add(library, f"{form} version {at}", password, text.decode())
add(library, "argon2id at its default", "secret", argon2.PasswordHasher().hash("secret"))
text = pwdlib.PasswordHash.recommended().hash("secret")
add(f"pwdlib {version('pwdlib')}", "argon2id at its default", "secret", text)

for module in ["bcrypt", "bcryptjs"]:
    script = f"""
        const bcrypt = (await import({module!r})).default;
        const passwords = JSON.parse(process.argv[1]);
        console.log(JSON.stringify(passwords.map((p) => bcrypt.hashSync(p, 4))));
    """
    command = ["node", "--input-type=module", "-e", script, json.dumps(PASSWORDS)]
    hashes = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    at = json.load(open(f"node_modules/{module}/package.json"))["version"]
    for password, text in zip(PASSWORDS, hashes, strict=True):
        add(f"{module} {at} (Node)", "bcrypt", password, text, cut(password))

json.dump(vectors, sys.stdout, indent=0, ensure_ascii=True)
print()
