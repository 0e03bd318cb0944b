"""A running `jeton serve` for clients and resource servers that no one here wrote."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JETON = ROOT / "target" / "debug" / "jeton"
USERNAME = "johndoe"
PASSWORD = "tuesday fern lamp"
AUDIENCE = "https://api.example"
GETS_TOKENS = ["--grant", "password", "--grant", "refresh_token", "--audience", AUDIENCE]
GETS_TOKENS += ["--scope", "read write", "--default-scope", "read"]
ENGINES = ["sqlite", "postgres"]


class Service:
    """The service, and what a client and a resource server were told about it."""

    def __init__(self, issuer, management, secrets):
        self.issuer = issuer
        self.management = management
        self.secrets = secrets


def command(*arguments, stdin=""):
    """Runs a command of the executable and returns what it prints."""
    arguments = [str(argument) for argument in arguments]
    done = subprocess.run([JETON, *arguments], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout


def jeton(*arguments, stdin=""):
    """Runs a command of the executable and returns its JSON."""
    return json.loads(command(*arguments, "--json", stdin=stdin))


def new_database(engine, folder):
    if engine == "sqlite":
        return f"sqlite:{folder / 'jeton.db'}"
    server = os.environ["JETON_TEST_POSTGRES"]
    name = f"interop_{uuid.uuid4().hex}"
    subprocess.run(["psql", "-q", server, "-c", f"CREATE DATABASE {name}"], check=True)
    return f"{server.rsplit('/', 1)[0]}/{name}"


def stop(process):
    """Ends a process, by force if it does not end when it is told to, and returns its status."""
    process.terminate()
    try:
        return process.wait(timeout=30)
    finally:
        process.kill()


@contextlib.contextmanager
def serving(log, *options, listen="127.0.0.1:0"):
    """Runs `jeton serve` until the end of the block, which gets where it listens."""
    process = subprocess.Popen(
        [JETON, "serve", "--listen", listen, "--management-listen", "127.0.0.1:0"]
        + ["--log-format", "json", "--login-deadline", "1m", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    with open(log, "w", encoding="utf-8") as kept:
        for line in process.stderr:
            kept.write(line)
            entry = json.loads(line)
            if entry.get("message") == "serving":
                break
        else:
            raise AssertionError(f"it does not serve, see {log}")
        # Of a pipe that nobody reads the service would drop the log.
        reader = threading.Thread(target=shutil.copyfileobj, args=(process.stderr, kept))
        reader.start()
        try:
            yield entry
        finally:
            status = stop(process)
            reader.join()
    assert status == 0


@pytest.fixture(scope="session", params=ENGINES)
def service(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    database = ["--database", new_database(request.param, folder)]
    jeton("user", "add", USERNAME, "--password-stdin", *database, stdin=PASSWORD + "\n")
    secrets = {}
    for client_id, options in {
        "web": GETS_TOKENS,
        "app": [*GETS_TOKENS, "--public"],
        "api": ["--introspects", AUDIENCE, "--introspects-username"],
    }.items():
        added = jeton("client", "add", client_id, *options, *database)
        secrets[client_id] = added.get("client_secret")
    master = ["--master-key-file", folder / "master.jwk"]
    with serving(folder / "log", *database, *master) as entry:
        yield Service(entry["issuer"], entry["management"], secrets)
