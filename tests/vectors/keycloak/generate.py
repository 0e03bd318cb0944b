"""Writes an export of Keycloak with many users, in the text of the users of realm.json: each has the hash, and so the
password, of one of them, and a name and identities of its own.

    python3 tests/vectors/keycloak/generate.py 1000000 > /tmp/realm.json
    python3 tests/vectors/keycloak/generate.py 1000000 /tmp/realm    # a folder, as --users different_files makes it
"""

import json
import pathlib
import re
import sys
import uuid

HERE = pathlib.Path(__file__).parent
# Of which users the others are copies, in turn.
MODELS = ["argon2", "pbkdf2sha256default", "pbkdf2sha512", "anna"]
# How many users `kc.sh export --dir` writes to a file, by default.
IN_A_FILE = 50

text = (HERE / "realm.json").read_text()
begin = text.index('\n  "users" : [') + len('\n  "users" : [')
# The list ends where the next member of the realm begins.
end = re.compile(r'\n  } ],\n  "').search(text, begin).start() + len("\n  }")
templates = []
for user in text[begin:end].strip().split("\n  }, {\n"):
    user = "{\n" + user.removeprefix("{\n").removesuffix("\n  }") + "\n  }"
    if json.loads(user)["username"] in MODELS:
        templates.append((json.loads(user)["username"], re.split(r'("id" : ")[0-9a-f-]{36}', user)))


def user(number):
    name, parts = templates[number % len(templates)]
    written = [parts[0]]
    for at in range(1, len(parts), 2):
        identity = uuid.UUID(int=(number << 64) + (4 << 76) + (1 << 63) + at)
        written += [parts[at], str(identity), parts[at + 1]]
    other = f"user{number:08}"
    return "".join(written).replace(f'"username" : "{name}"', f'"username" : "{other}"').replace(f'"{name}@', f'"{other}@')


count = int(sys.argv[1])
if len(sys.argv) == 2:
    write = sys.stdout.write
    write(text[:begin] + " ")
    for number in range(count):
        write((", " if number else "") + user(number))
    write(text[end:])
else:
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir()
    realm = (HERE / "realm/shop-realm.json").read_text()
    (folder / "shop-realm.json").write_text(realm)
    for first in range(0, count, IN_A_FILE):
        users = ", ".join(user(number) for number in range(first, min(count, first + IN_A_FILE)))
        file = f'{{\n  "realm" : "shop",\n  "users" : [ {users} ]\n}}'
        (folder / f"shop-users-{first // IN_A_FILE}.json").write_text(file)
