"""Password hashes are sealed for a recovery key that age-keygen of Debian makes, and age opens what Jeton sealed for it."""

import base64
import json
import subprocess

import pytest
import requests

from conftest import ENGINES, GETS_TOKENS, PASSWORD, ROOT, command, jeton, new_database, serving

USERNAME = "johndoe"
RUNBOOK = (ROOT / "docs" / "runbooks.md").read_text("utf-8")


def run(*arguments, stdin=None):
    done = subprocess.run(arguments, input=stdin, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def query(database, statement):
    if database.startswith("sqlite:"):
        return run("sqlite3", database.removeprefix("sqlite:"), statement)
    return run("psql", "-qtA", database, "-c", statement)


def log_in(issuer, password=PASSWORD):
    form = {"grant_type": "password", "client_id": "app", "username": USERNAME}
    return requests.post(f"{issuer}/token", data=form | {"password": password}).status_code


def drill():
    """The commands of the runbook, without their comments."""
    lines = [line.split("#")[0].split() for line in RUNBOOK.splitlines()]
    recover = ["jeton", "key", "recover"]
    [begin] = [number for number, line in enumerate(lines) if line[:3] == recover]
    return [line[1:] for line in lines[begin - 1 : begin + 2]]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_recovery_key_brings_back_every_password(engine, tmp_path):
    """The drill: the master key is lost. The recovery key opens the data key, as the runbook says."""
    database, master = new_database(engine, tmp_path), tmp_path / "master.jwk"
    identity = tmp_path / "recovery.txt"
    options = ["--database", database, "--master-key-file", master]
    jeton("client", "add", "app", "--public", *GETS_TOKENS, *options[:2])
    jeton("user", "add", USERNAME, "--password-stdin", *options[:2], stdin=f"{PASSWORD}\n")
    run("age-keygen", "-o", str(identity))
    recipient = run("age-keygen", "-y", str(identity))
    with serving(tmp_path / "first.log", *options) as service:
        assert log_in(service["issuer"]) == 200
        command("user", "seal", "--recovery-recipient", recipient, "--yes", *options)
        assert log_in(service["issuer"]) == 200
    assert query(database, "SELECT password_hash FROM users").startswith("$sealed$")

    armored = query(database, "SELECT recovery FROM keys WHERE purpose = 'data'")
    key = json.loads(run("age", "--decrypt", "-i", str(identity), stdin=armored + "\n"))
    assert (key["kty"], len(base64.urlsafe_b64decode(key["k"] + "="))) == ("oct", 32)

    master.unlink()
    steps = drill()
    assert [step[1] for step in steps] == ["init", "recover", "revoke"]
    for step in steps:
        step = [str(identity) if part == "recovery.txt" else part for part in step]
        where = options[2:] if step[1] == "init" else ["--yes", *options]
        command(*step, *where)
    with serving(tmp_path / "second.log", *options) as service:
        assert log_in(service["issuer"]) == 200
        assert log_in(service["issuer"], "another password") == 400
