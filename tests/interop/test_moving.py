"""The steps of docs/moving-from-fastapi.md: after each of them everybody can log in."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import urllib.parse

import jwt
import pytest
import requests
from pwdlib.hashers.bcrypt import BcryptHasher

from conftest import ENGINES, JETON, ROOT, jeton, new_database, serving
from fastapi_app import FOLDER, blocks, commands, listener, running

DOCUMENT = ROOT / "docs" / "moving-from-fastapi.md"
AUDIENCE = "https://api.example.com"
SECRET_KEY = "a secret of thirty-two octets or more"
# The right one, and a wrong one.
PASSWORDS = ["secret", "secrets"]
CREDENTIALS = {"username": "johndoe", "password": "secret"}
ME = {"username": "johndoe", "full_name": "John Doe"}


def step(number):
    """The part of the document that a step is."""
    text = DOCUMENT.read_text("utf-8")
    return re.search(rf"^## Step {number}: .*?(?=^## )", text, re.M | re.S).group()


class App:
    """The app of the tutorial in one of its forms, somewhere."""

    def __init__(self, origin):
        self.origin = origin

    def log_in(self, **changes):
        return requests.post(f"{self.origin}/token", data=CREDENTIALS | changes)

    def me(self, token):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.origin}/users/me", headers=headers)

    def takes(self, token):
        answer = self.me(token)
        assert answer.status_code in [200, 401], answer.text
        return answer.status_code == 200 and answer.json() == ME

    def asks_for_tokens_at(self):
        described = requests.get(f"{self.origin}/openapi.json").json()
        scheme = described["components"]["securitySchemes"]["OAuth2PasswordBearer"]
        return scheme["flows"]["password"]["tokenUrl"]


class Move:
    """Somebody who follows the document, in a folder of their own."""

    def __init__(self, engine, folder, running):
        self.folder, self.stack = folder, running
        self.environment = {"APP_DATABASE": str(folder / "app.db"), "SECRET_KEY": SECRET_KEY}
        self.jeton_database = new_database(engine, folder)
        self.issuer = None
        shutil.copy(FOLDER / "tutorial.sql", folder)
        self.shell(commands_in(step(0), "sqlite3"))

    def shell(self, script, **environment):
        path = f"{JETON.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "JETON_DATABASE": self.jeton_database, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def users(self):
        return jeton("user", "list", "--database", self.jeton_database)

    def run(self, module, **settings):
        listening, origin = listener()
        settings = {**self.environment, **settings}
        self.stack.enter_context(running(module, listening, self.folder / "app.log", **settings))
        return App(origin)

    def copy_the_users(self):
        return self.shell(blocks(step(1), "sh")[0])

    def change_in_the_app(self, column, value):
        """Sets a value for all users."""
        with contextlib.closing(sqlite3.connect(self.folder / "app.db")) as database, database:
            database.execute(f'UPDATE "user" SET {column} = ?', [value])

    def start_jeton(self):
        """Step 2, on ports that are free."""
        self.shell(commands_in(step(2), "jeton client add"))
        [options] = commands(step(2), "jeton serve")
        database = ["--database", self.jeton_database]
        database += ["--master-key-file", self.folder / "master.jwk"]
        started = serving(self.folder / "jeton.log", *options[1:], *database)
        self.issuer = self.stack.enter_context(started)["issuer"]
        self.environment |= {"ISSUER": self.issuer, "AUDIENCE": AUDIENCE}

    def ask_jeton(self, **changes):
        form = {"grant_type": "password", "client_id": "web-app", **CREDENTIALS, **changes}
        return requests.post(f"{self.issuer}/token", data=form)

    def token_of_jeton(self, **changes):
        answer = self.ask_jeton(**changes)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


def commands_in(part, beginning):
    """The lines of a part's shell blocks that begin so, with those that continue them."""
    text = "".join(blocks(part, "sh"))
    return "".join(re.findall(rf"^{re.escape(beginning)}(?:.*\\\n)*.*\n", text, re.M))


@pytest.fixture
def move(request, tmp_path):
    engine = getattr(request, "param", "sqlite")
    with contextlib.ExitStack() as running:
        yield Move(engine, tmp_path, running)


def old_token(app, **changes):
    answer = app.log_in(**changes)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def test_the_code_of_the_document_is_that_of_the_examples():
    """What is shown is what is run: each block of the steps stands in a file, word for word."""
    files = [path.read_text("utf-8") for path in FOLDER.glob("tutorial*.py")]
    shown = [block for number in range(7) for block in blocks(step(number), "python")]
    assert len(shown) == 4
    for block in shown:
        assert any(block in text for text in files), block


def test_at_first_the_app_has_passwords_and_signs(move):
    app = move.run("tutorial")
    assert app.takes(old_token(app))
    assert app.takes(old_token(app, grant_type="password"))
    assert app.log_in(password="secrets").status_code == 401
    assert app.log_in(username="bob").status_code == 401
    assert not app.takes("junk")


def test_copying_the_users_changes_nothing(move):
    """Step 1: the dry run stores nothing, the import all, and no file with hashes is left."""
    copied = commands_in(step(1), "sqlite3")
    said = move.shell(copied + commands_in(step(1), "jeton user import --dry-run"))
    assert "Of 3 lines: 3 would be added" in said
    assert "Of 3 lines: 3 added" in move.copy_the_users()
    assert [user["username"] for user in move.users()] == ["alice", "bob", "johndoe"]
    assert not (move.folder / "users.csv").exists()
    app = move.run("tutorial")
    assert app.takes(old_token(app))


def test_users_may_be_copied_again(move):
    """Steps 1 and 4: what has changed in the app, of those who have not come to Jeton yet."""
    move.copy_the_users()
    move.start_jeton()
    assert move.token_of_jeton()
    move.change_in_the_app("hashed_password", BcryptHasher().hash("another secret"))
    move.copy_the_users()
    assert move.ask_jeton().status_code == 200
    assert move.ask_jeton(username="alice").status_code == 400
    assert move.token_of_jeton(username="alice", password="another secret")


def test_psql_writes_the_same_file(move):
    """Step 1, for an app that has its users in PostgreSQL, where a column has another `true`."""
    database = urllib.parse.urlsplit(new_database("postgres", move.folder))
    server = {"PGHOST": database.hostname, "PGPORT": str(database.port)}
    server |= {"PGUSER": database.username, "PGDATABASE": database.path.removeprefix("/")}
    move.shell("psql -q -f tutorial.sql", **server)
    move.shell(blocks(step(1), "sh")[1] + "jeton user import users.csv", **server)
    listed = {user["username"]: user["disabled_at"] is not None for user in move.users()}
    assert listed == {"johndoe": False, "alice": False, "bob": True}
    move.start_jeton()
    assert move.token_of_jeton()


def test_tokens_name_users_as_the_file_says(move):
    """«What about…»: `sub` may be the key of the app's table, and names are in small letters."""
    move.shell("""sqlite3 app.db "UPDATE user SET username = 'JohnDoe' WHERE id = 1" """)
    [sub] = re.findall(r"CAST\(id AS TEXT\)\s+AS\s+sub", DOCUMENT.read_text("utf-8"))
    copy = blocks(step(1), "sh")[0]
    assert "disabled FROM" in copy
    move.shell(copy.replace("disabled FROM", f"disabled, {sub} FROM"))
    move.start_jeton()
    token = move.token_of_jeton(username="JohnDoe")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["preferred_username"]) == ("1", "johndoe")


@pytest.mark.parametrize("move", ENGINES, indirect=True)
def test_jeton_knows_the_passwords_and_the_app_does_not_notice(move):
    """Step 2: bcrypt of passlib and Argon2 of pwdlib, with the passwords of the app."""
    move.copy_the_users()
    app = move.run("tutorial")
    move.start_jeton()
    for username in ["johndoe", "alice"]:
        token = move.token_of_jeton(username=username)
        assert app.me(token).status_code == 401
        assert app.me(old_token(app, username=username)).status_code == 200
    assert move.ask_jeton(username="bob").json()["error"] == "invalid_grant"
    assert move.ask_jeton(password="secrets").json()["error"] == "invalid_grant"
    curl = commands_in(step(2), "curl").replace("http://localhost:8080", move.issuer)
    answer = json.loads(move.shell(curl))
    assert answer["expires_in"] == 30 * 60
    assert answer["token_type"].lower() == "bearer"
    doctor = commands_in(step(2), "jeton doctor").replace("http://localhost:8080", move.issuer)
    said = move.shell(f"{doctor.strip()} --password-stdin <<< secret")
    assert "ok       cors.preflight" in said
    assert "ok       revocation.answer" in said


def test_the_app_takes_both_tokens(move):
    """Step 3, and back."""
    move.copy_the_users()
    move.start_jeton()
    before = move.run("tutorial")
    moving = move.run("tutorial_moving")
    for token in [old_token(before), old_token(moving), move.token_of_jeton()]:
        assert moving.takes(token)
    assert before.takes(old_token(moving))
    assert moving.asks_for_tokens_at() == "token"
    assert moving.log_in(password="secrets").status_code == 401


def test_the_app_takes_neither_kind_with_the_key_of_the_other(move):
    move.copy_the_users()
    move.start_jeton()
    moving = move.run("tutorial_moving")
    genuine = move.token_of_jeton()
    key = jwt.PyJWKClient(f"{move.issuer}/.well-known/jwks.json").get_signing_key_from_jwt(genuine)
    claims = jwt.decode(genuine, options={"verify_signature": False})
    head, body, signature = genuine.split(".")
    wrong = [
        jwt.encode(claims, SECRET_KEY + "?", "HS256", {"kid": key.key_id, "typ": "at+jwt"}),
        jwt.encode({**claims, "sub": "johndoe"}, "x" * 32, "HS256"),
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{jwt.utils.base64url_encode(b'{}').decode()}.{body}.{signature}",
        f"{head}.{body}.",
        "junk",
    ]
    for token in wrong:
        assert not moving.takes(token), token
    assert moving.takes(genuine)


def test_the_page_asks_jeton_and_older_tokens_stay_good(move):
    """Step 4, and back."""
    move.copy_the_users()
    move.start_jeton()
    before = old_token(move.run("tutorial"))
    [setting] = commands(step(4), "export")
    assert setting == ["TOKEN_URL=$ISSUER/token"]
    app = move.run("tutorial_moving", TOKEN_URL=f"{move.issuer}/token")
    assert app.asks_for_tokens_at() == f"{move.issuer}/token"
    token = move.token_of_jeton()
    for good in [before, old_token(app), token]:
        assert app.takes(good)
    back = move.run("tutorial_moving")
    assert back.takes(token)
    assert back.asks_for_tokens_at() == "token"


def test_a_front_end_logs_in_with_the_code_of_the_document(move):
    """Step 4: what `fetch` sends is a form, and what went wrong is there to be shown."""
    move.copy_the_users()
    move.start_jeton()
    [shown] = blocks(step(4), "js")
    shown = shown.replace("http://localhost:8080", move.issuer)
    done = []
    for password in PASSWORDS:
        before = f'const [username, password] = ["johndoe", "{password}"];\n'
        script = before + shown + "console.log(result.access_token);\n"
        node = ["node", "--input-type=module", "--eval", script]
        done.append(subprocess.run(node, capture_output=True, text=True))
    right, wrong = done
    assert right.returncode == 0, right.stderr
    assert move.run("tutorial_moving").takes(right.stdout.strip())
    assert wrong.returncode != 0
    assert "Error: The credentials are not valid." in wrong.stderr


def test_a_browser_may_read_the_answers(move):
    """Step 2: the origin of the front end, on errors too."""
    move.copy_the_users()
    move.start_jeton()
    origin = "http://localhost:8000"
    form = {"grant_type": "password", "client_id": "web-app", "username": "johndoe"}
    for password, status in zip(PASSWORDS, [200, 400], strict=True):
        answer = requests.post(
            f"{move.issuer}/token", data=form | {"password": password}, headers={"Origin": origin}
        )
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == origin


def test_what_the_document_says_of_the_two_endpoints_is_so(move):
    """«Before you begin»: what the tutorial's endpoint takes, and Jeton's does not."""
    move.copy_the_users()
    move.start_jeton()
    app = move.run("tutorial")
    in_parts = {name: (None, value) for name, value in CREDENTIALS.items()}
    assert requests.post(f"{app.origin}/token", files=in_parts).status_code == 200
    assert app.log_in(password="secrets").json().keys() == {"detail"}
    in_parts |= {"grant_type": (None, "password"), "client_id": (None, "web-app")}
    answer = requests.post(f"{move.issuer}/token", files=in_parts)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    without_grant = {"client_id": "web-app", **CREDENTIALS}
    answer = requests.post(f"{move.issuer}/token", data=without_grant)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = move.ask_jeton(password="secrets")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_in_the_end_jeton_alone_has_passwords_and_keys(move):
    """Step 5, and back as long as the column is there."""
    move.copy_the_users()
    move.start_jeton()
    old = old_token(move.run("tutorial"))
    token = move.token_of_jeton()
    for name in commands(step(5), "unset")[0][:1]:
        move.environment.pop(name)
    moved = move.run("tutorial_moved")
    assert moved.asks_for_tokens_at() == f"{move.issuer}/token"
    assert moved.takes(token)
    assert not moved.takes(old)
    assert moved.log_in().status_code == 404
    back = move.run("tutorial_moving", SECRET_KEY=SECRET_KEY + SECRET_KEY)
    assert back.takes(old_token(back))
    assert back.takes(token)
    move.shell(commands_in(step(5), "sqlite3"))
    assert "hashed_password" not in move.shell("sqlite3 app.db .schema")
    assert moved.takes(token)
    assert moved.takes(move.token_of_jeton())


def test_a_user_whom_the_app_disables_is_locked_out_at_once(move):
    """«What about users that are disabled»: the app's own column is looked at with each request."""
    move.copy_the_users()
    move.start_jeton()
    moved = move.run("tutorial_moved")
    token = move.token_of_jeton()
    assert moved.takes(token)
    move.change_in_the_app("disabled", True)
    assert not moved.takes(token)


def test_the_statistics_tell_how_far_it_is(move):
    """Step 6: a login replaces the hash that was imported."""
    move.copy_the_users()
    move.start_jeton()
    listing = commands_in(step(6), "jeton user list --stats").strip()
    before = json.loads(move.shell(f"{listing} --json"))
    assert sum(row["users"] for row in before if row["format"].startswith("bcrypt")) == 2
    move.token_of_jeton()
    after = json.loads(move.shell(f"{listing} --json"))
    assert sum(row["users"] for row in after if row["format"].startswith("bcrypt")) == 1
    assert sum(row["users"] for row in after if row["format"].startswith("scrypt")) == 1
