"""Makes django-dumpdata.json, what `manage.py dumpdata` writes, and unknown-hashes.json: hashes that Jeton does not
read, as the libraries write them, each with words of the name that it gives them.

    python3 -m venv venv && venv/bin/pip install passlib==1.7.4 Django==5.2.19
    cd tests/vectors && venv/bin/python make_other_files.py
"""

import crypt
import hashlib
import io
import json
import warnings

import django
from django.conf import settings
from django.core.management import call_command
from passlib import hash as passlib

warnings.simplefilter("ignore")
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()
from django.contrib.auth import hashers  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402

PASSWORD = "correct horse battery staple"

call_command("migrate", verbosity=0)
group = Group.objects.create(name="editors")
anna = User.objects.create_user("Anna", "anna@example.com", PASSWORD)
anna.groups.add(group)
User.objects.create_user("bert", "bert@example.com", PASSWORD, is_active=False)
User.objects.create_user("carl", "carl@example.com")  # without a password
text = io.StringIO()
call_command("dumpdata", "auth.group", "auth.user", indent=2, stdout=text)
with open("django-dumpdata.json", "w") as file:
    file.write(text.getvalue())

vectors = []


def add(name, text):
    vectors.append({"named": name, "hash": text})


for name, handler in [
    ("md5crypt", passlib.md5_crypt),
    ("Apache's md5crypt", passlib.apr_md5_crypt),
    ("sha1crypt", passlib.sha1_crypt.using(rounds=100)),
    ("Sun's MD5", passlib.sun_md5_crypt.using(rounds=100)),
    ("DES of crypt(3)", passlib.des_crypt.using(salt="Ab")),
    ("PBKDF2-SHA-1 of PyPI's pbkdf2", passlib.dlitz_pbkdf2_sha1.using(rounds=100)),
    ("PBKDF2 of GRUB", passlib.grub_pbkdf2_sha512.using(rounds=100)),
    ("SCRAM of passlib", passlib.scram.using(rounds=100)),
    ("FSHP", passlib.fshp.using(rounds=100)),
    ("Argon2d", passlib.argon2.using(type="d", rounds=1, memory_cost=64)),
    ("MD5 of an LDAP", passlib.ldap_md5),
    ("salted MD5 of an LDAP", passlib.ldap_salted_md5),
    ("MD5 or NTLM", passlib.nthash),
    ("MD5 or NTLM", passlib.hex_md5),
    ("SHA-1 in hexadecimal", passlib.hex_sha1),
    ("SHA-256 in hexadecimal", passlib.hex_sha256),
    ("SHA-512 in hexadecimal", passlib.hex_sha512),
    ("SHA-1 of MySQL", passlib.mysql41),
]:
    add(name, handler.hash(PASSWORD))
add("PostgreSQL's own roles", passlib.postgres_md5.hash(PASSWORD, user="anna"))
add("md5crypt", passlib.ldap_md5_crypt.hash(PASSWORD))
add("DES of crypt(3)", passlib.ldap_des_crypt.using(salt="Ab").hash(PASSWORD))
for before in ["", "{CRYPT}"]:
    add("yescrypt", before + crypt.crypt(PASSWORD, "$y$j9T$saltsaltsaltsaltsalt$"))
# Django 5.0 and Werkzeug 2 wrote this, each with another function.
salted = hashlib.sha1(b"saltsalt" + PASSWORD.encode()).hexdigest()
add("SHA-1 of Django or HMAC-SHA-1 of Werkzeug", f"sha1$saltsalt${salted}")
add("MD5 of Django", hashers.MD5PasswordHasher().encode(PASSWORD, "saltsalt"))
add("no password is right", hashers.make_password(None))

with open("unknown-hashes.json", "w") as file:
    json.dump(vectors, file, indent=1)
    file.write("\n")
