"""docs/sign-up.md: an API that lets people sign up and change their passwords."""

import contextlib
import os

import pytest
import requests

from conftest import ENGINES, JETON, ROOT, command, jeton, new_database, serving
from fastapi_app import FOLDER, blocks, commands, listener, running

DOCUMENT = (ROOT / "docs" / "sign-up.md").read_text("utf-8")
AUDIENCE = "https://api.example.com"
GOOD = "quiet otter harbour"
BETTER = "seven copper lanterns"


class Site:
    """The service, and the API beside it."""

    def __init__(self, database, issuer, origin):
        self.database, self.issuer, self.origin = database, issuer, origin

    def sign_up(self, username, password=GOOD):
        new = {"username": username, "password": password}
        return requests.post(f"{self.origin}/users", json=new)

    def log_in(self, username, password=GOOD):
        form = {"grant_type": "password", "client_id": "web-app", "username": username}
        return requests.post(f"{self.issuer}/token", data=form | {"password": password})

    def change_password(self, token, current, new):
        change = {"current_password": current, "new_password": new}
        headers = {"Authorization": f"Bearer {token}"}
        return requests.put(f"{self.origin}/users/me/password", json=change, headers=headers)

    def token(self, username, password=GOOD):
        answer = self.log_in(username, password)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


@pytest.fixture(params=ENGINES)
def site(request, tmp_path):
    database = ["--database", new_database(request.param, tmp_path)]
    master = ["--master-key-file", str(tmp_path / "master.jwk")]
    [added] = commands(DOCUMENT, "jeton client add")
    command(*added, *database)
    jeton("user", "add", "admin", "--password-stdin", *database, stdin=f"{BETTER}\n")
    listening, origin = listener()
    with contextlib.ExitStack() as stack:
        started = serving(tmp_path / "jeton.log", *database, *master)
        issuer = stack.enter_context(started)["issuer"]
        settings = {
            "ISSUER": issuer,
            "AUDIENCE": AUDIENCE,
            "JETON_DATABASE": database[1],
            "JETON_MASTER_KEY_FILE": master[1],
            "PATH": f"{JETON.parent}{os.pathsep}{os.environ['PATH']}",
        }
        stack.enter_context(running("sign_up", listening, tmp_path / "app.log", **settings))
        yield Site(database, issuer, origin)


def test_the_code_of_the_document_is_that_of_the_example():
    example = (FOLDER / "sign_up.py").read_text("utf-8")
    shown = blocks(DOCUMENT, "python")
    assert shown and all(block in example for block in shown)


def test_whoever_signs_up_can_log_in(site):
    answer = site.sign_up("Carol")
    assert answer.status_code == 201, answer.text
    assert answer.json()["username"] == "carol"
    assert site.token("carol")
    shown = jeton("user", "show", "carol", *site.database)
    assert (shown["sub"], shown["scope"], shown["roles"]) == (answer.json()["sub"], "api", [])
    [act] = jeton("audit", "--user", "carol", *site.database)
    assert (act["act"], act["claimed_name"]) == ("user_added", "sign-up")


def test_nobody_signs_up_as_somebody_else(site):
    for name in ["admin", "ADMIN"]:
        assert site.sign_up(name).status_code == 409
    assert site.log_in("admin").status_code == 400
    assert site.token("admin", BETTER)


def test_what_cannot_be_is_refused_with_a_reason(site):
    for name, password, says in [
        ("carol", "short", "too short"),
        ("two words", GOOD, "user name"),
        ("--role=admin", GOOD, ""),
        ("", GOOD, "user name"),
        ("carol", f"{GOOD}\n{BETTER}", "line ends"),
    ]:
        answer = site.sign_up(name, password)
        if answer.status_code == 201:
            # It is a name like any other, and no option.
            assert (name, answer.json()["username"]) == ("--role=admin", "--role=admin")
            continue
        assert answer.status_code == 422 and says in answer.json()["detail"], answer.text
    assert all(user["roles"] == [] for user in jeton("user", "list", *site.database))


def test_only_whoever_knows_the_password_changes_it(site):
    site.sign_up("carol")
    token = site.token("carol")
    for current, new, status in [(BETTER, BETTER, 422), (GOOD, "short", 422)]:
        assert site.change_password(token, current, new).status_code == status
    assert site.change_password("junk", GOOD, BETTER).status_code == 401
    assert site.token("carol")
    answer = site.change_password(token, GOOD, BETTER)
    assert answer.status_code == 204, answer.text
    assert site.log_in("carol").status_code == 400
    assert site.token("carol", BETTER)
