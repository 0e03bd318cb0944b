"""A running `jeton serve` for clients and resource servers that no one here wrote."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JETON = ROOT / "target" / "debug" / "jeton"
USERNAME = "johndoe"
PASSWORD = "tuesday fern lamp"
AUDIENCE = "https://api.example"


class Service:
    """The service, and what a client and a resource server were told about it."""

    def __init__(self, issuer, management, secrets):
        self.issuer = issuer
        self.management = management
        self.secrets = secrets


def jeton(*arguments, stdin=""):
    """Runs a command of the executable and returns its JSON."""
    done = subprocess.run(
        [JETON, *arguments, "--json"], input=stdin, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def new_database(engine, folder):
    if engine == "sqlite":
        return f"sqlite:{folder / 'jeton.db'}"
    server = os.environ["JETON_TEST_POSTGRES"]
    name = f"interop_{uuid.uuid4().hex}"
    subprocess.run(["psql", "-q", server, "-c", f"CREATE DATABASE {name}"], check=True)
    return f"{server.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def service(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    database = ["--database", new_database(request.param, folder)]
    jeton("user", "add", USERNAME, "--password-stdin", *database, stdin=PASSWORD + "\n")
    gets_tokens = ["--grant", "password", "--scope", "read write", "--default-scope", "read"]
    gets_tokens += ["--audience", AUDIENCE]
    secrets = {}
    for client_id, options in {
        "web": gets_tokens,
        "app": [*gets_tokens, "--public"],
        "api": ["--introspects", AUDIENCE, "--introspects-username"],
    }.items():
        added = jeton("client", "add", client_id, *options, *database)
        secrets[client_id] = added.get("client_secret")
    process = subprocess.Popen(
        [JETON, "serve", *database, "--master-key-file", folder / "master.jwk"]
        + ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"]
        + ["--log-format", "json", "--login-deadline", "1m"],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        entry = json.loads(line)
        if entry.get("message") == "serving":
            yield Service(entry["issuer"], entry["management"], secrets)
            break
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
