"""Makes password-hash-parts.json: salted digests as Django and Werkzeug wrote them, which look alike and are not.

    python3 -m venv venv && venv/bin/pip install Django==4.2.16 Werkzeug==2.0.3
    venv/bin/python tests/vectors/make_password_hash_parts.py > tests/vectors/password-hash-parts.json
"""

import json
import sys
import warnings
from importlib.metadata import version

import django
import werkzeug.security
from django.conf import settings

warnings.simplefilter("ignore")
settings.configure()
django.setup()
from django.contrib.auth import hashers  # noqa: E402

PASSWORDS = ["secret", "correct horse battery staple", "p\u00e4ssw\u00f6rd", "0123456789" * 10, "fern \u00e9" * 50]
vectors = []


def add(made_by, place, password, text):
    """`place`: where the salt goes."""
    vectors.append({"made_by": made_by, "place": place, "password": password, "hash": text})


for password in PASSWORDS:
    for hasher in [hashers.SHA1PasswordHasher(), hashers.UnsaltedSHA1PasswordHasher()]:
        text = hasher.encode(password, hasher.salt())
        assert hasher.verify(password, text)
        add(f"Django {version('Django')}", "before", password, text)
    for method in ["sha1", "sha256", "sha384", "sha512"]:
        text = werkzeug.security.generate_password_hash(password, method)
        assert werkzeug.security.check_password_hash(text, password)
        add(f"Werkzeug {version('Werkzeug')}", "key", password, text)

json.dump(vectors, sys.stdout, indent=0, ensure_ascii=True)
print()
