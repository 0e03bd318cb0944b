"""docs/openapi.yaml is well-formed, and describes what the service does: all of it, and nothing else."""

import base64
import contextlib
import http.client
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urlsplit

import pyotp
import pytest
from openapi_spec_validator import validate

from conftest import AUDIENCE, ENGINES, GETS_TOKENS, PASSWORD, ROOT, USERNAME
from conftest import jeton, new_database, serving
from described import DOCUMENT, FILE, answers, describes, error_examples, is_valid, operations
from described import parameters

# The least that the service accepts.
SCRYPT = ["--scrypt", "ln=15,r=8,p=3"]
REDOCLY = ROOT / "target" / "interop-node" / "node_modules" / ".bin" / "redocly"
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
CONFIGURATION = ROOT / "tests" / "interop" / "schemathesis.toml"
ENDPOINTS = ["/token", "/revoke", "/introspect"]
CHARACTERS = [chr(number) for number in range(128)]
CHARACTERS += list("\x80\xe9\ufffd\ufffe\uffff\U0001f511")
# The reasons that mean that a parameter is not as the document says.
MALFORMED = ["overlong_parameter", "malformed_parameter", "malformed_scope", "malformed_resource"]
MALFORMED += ["content_too_large"]
# A user who is given an authenticator.
CAREFUL = "careful"
LOGIN = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}


def source(name):
    return (ROOT / "src" / name).read_text(encoding="utf-8")


class Conversation:
    """A service, and all that it answered."""

    def __init__(self, issuer, secrets):
        self.host = urlsplit(issuer).netloc
        self.secrets = secrets
        self.seen = set()
        self.errors = set()

    def ask(self, method, path, form=None, client=None, names_host=True, at=None, **headers):
        """Sends a request, and holds the answer against what the document says of its method, or of
        `at`. Returns status, headers and JSON."""
        content = urlencode(form or {})
        if method == "POST":
            headers = {"Content_Length": str(len(content)), **FORM, **headers}
        if client is not None:
            secret = self.secrets.get(client, "no such secret")
            basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
            headers["Authorization"] = f"Basic {basic}"
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=60)) as connection:
            connection.putrequest(method, path, not names_host, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(content.encode())
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        method = at or method
        self.seen.add(describes(path, method, status, answer.getheaders(), content))
        value = json.loads(content or "null")
        if status >= 400 and content:
            self.errors.add((path, method, status, json.dumps(value)))
        return status, answer.headers, value

    def ask_until(self, status, *request, **more):
        while self.ask(*request, **more)[0] != status:
            time.sleep(0.05)


@pytest.fixture(params=ENGINES)
def database(request, tmp_path):
    """The URL of a database, the secrets of its clients, and what a service needs to run on it."""
    url = new_database(request.param, tmp_path)
    where = ["--database", url]
    jeton("user", "add", USERNAME, "--password-stdin", *SCRYPT, *where, stdin=PASSWORD + "\n")
    jeton("user", "add", CAREFUL, "--password-stdin", *SCRYPT, *where, stdin=PASSWORD + "\n")
    secrets = {}
    for client_id, options in {
        "web": [*GETS_TOKENS, "--introspects", AUDIENCE, "--forwards-end-user-ip"],
        "telling": [*GETS_TOKENS, "--tells-second-factor"],
        "nothing": [],
        "broken": [],
    }.items():
        secrets[client_id] = jeton("client", "add", client_id, *options, *where)["client_secret"]
    where += ["--master-key-file", tmp_path / "master.jwk", *SCRYPT, "--trusted-proxy", "127.0.0.1"]
    return url, secrets, where


def enrol(where):
    """Gives a user an authenticator, on a database whose service has made its keys."""
    options = where[:4]
    added = jeton("user", "otp", "add", CAREFUL, *options)
    jeton("user", "otp", "confirm", CAREFUL, pyotp.parse_uri(added["otpauth"]).now(), *options)


def damage(url):
    """Makes the settings of the client `broken` what nobody can read."""
    change(url, "UPDATE clients SET settings = 'x' WHERE client_id = 'broken'")


def repair(url):
    """Takes the client away: with it no service would start."""
    change(url, "DELETE FROM clients WHERE client_id = 'broken'")


def change(url, statement):
    if url.startswith("postgres:"):
        subprocess.run(["psql", "-q", url, "-c", statement], check=True)
    else:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)
            connection.commit()


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_a_linter_finds_one_scheme_that_no_operation_uses():
    """It is for the documents of other APIs, and for Swagger UI to log in with."""
    done = subprocess.run(
        [REDOCLY, "lint", FILE, "--config", ROOT / "tests/interop/redocly.yaml", "--format=json"],
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
    )
    problems = json.loads(done.stdout)["problems"]
    found = [(problem["ruleId"], problem["location"][0]["pointer"]) for problem in problems]
    assert found == [("no-unused-components", "#/components/securitySchemes/user")]


def test_the_document_names_the_paths_that_are_served():
    """Those of the table in src/http/lib.rs, for an issuer without a path."""
    names = dict(re.findall(r'const (\w+_PATH): &str = "(.+)";', source("oauth/metadata.rs")))
    table = source("http/lib.rs")
    paths = {
        names.get(path) or path.strip('"')
        for path in re.findall(r'endpoint_path\((\w+|".+?")\)', table)
    }
    paths |= {f"/.well-known/{name}" for name in re.findall(r'well_known_path\("(.+?)"\)', table)}
    assert len(paths) == 6
    assert set(DOCUMENT["paths"]) == paths


def test_the_document_has_every_error_code_of_oauth():
    [body] = re.findall(r"pub fn as_str\(self\).*?\n    }\n", source("oauth/error.rs"), re.S)
    of_oauth = set(re.findall(r'=> "(\w+)"', body))
    assert {"invalid_grant", "invalid_target"} < of_oauth
    assert of_oauth <= {code for _, _, _, code in answers()}


def provoke_answers(talk):
    """What a caller can do without delay."""
    _, _, tokens = talk.ask("POST", "/token", LOGIN, client="web")
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    _, _, tokens = talk.ask("POST", "/token", refresh, client="web")
    for name, token in {
        "ActiveAccessToken": tokens["access_token"],
        "ActiveRefreshToken": tokens["refresh_token"],
        "InactiveToken": "x",
    }.items():
        _, _, answer = talk.ask("POST", "/introspect", {"token": token}, client="web")
        assert set(answer) == set(DOCUMENT["components"]["schemas"][name]["required"])
    talk.ask("POST", "/revoke", {"token": tokens["refresh_token"]}, client="web")

    for form in [
        {},
        {**LOGIN, "password": "secret"},
        {"grant_type": "client_credentials"},
        {**LOGIN, "scope": "admin"},
        {**LOGIN, "resource": "https://elsewhere.example"},
    ]:
        talk.ask("POST", "/token", form, client="web")
    talk.ask("POST", "/token", {**LOGIN, "username": CAREFUL}, client="telling")
    for path in ENDPOINTS:
        for client in ["nothing", "nobody", "broken", None]:
            talk.ask("POST", path, LOGIN, client=client)
        talk.ask("POST", path, client="web")
        talk.ask("POST", path, Origin="https://elsewhere.example")
        talk.ask("POST", path, {"token": "x" * 16 * 1024})
    for path, method, _ in operations():
        talk.ask(method, path, names_host=False)
        status, headers, _ = talk.ask(method, path)
        if method == "OPTIONS":
            assert set(headers["allow"].lower().split(", ")) == set(DOCUMENT["paths"][path])
        elif method != "POST":
            assert talk.ask(method, path, If_None_Match=headers["etag"])[0] == 304
            talk.ask("PUT", path, at="GET")
        else:
            talk.ask("PUT", path, at="POST")


def provoke_last_answers(talk, threads, *service):
    """Tells a service to stop while it is asked on: it goes on answering, at last with 503.

    Asks each operation that was not yet answered so, until no answer comes. Returns whether there was
    such an operation."""
    left = {(path, method) for path, method, _ in operations()}
    left -= {(path, method) for path, method, status, _ in talk.seen if status == 503}
    if not left:
        return False

    def ask_on(path, method):
        with contextlib.suppress(ConnectionError):
            talk.ask_until(503, method, path)

    with serving(*service, "--drain", "1s") as entry:
        talk.host = urlsplit(entry["issuer"]).netloc
        asking = [threads.submit(ask_on, *operation) for operation in left]
    for asked in asking:
        asked.result()
    return True


def test_the_document_lists_every_answer_and_shows_every_error(database, tmp_path):
    """Each is provoked: by what a caller can do, by content that does not come, by many wrong secrets,
    and by a stop of the service while it is asked on."""
    url, secrets, where = database
    with ThreadPoolExecutor(len(list(operations()))) as threads:
        with serving(tmp_path / "log", *where) as entry:
            enrol(where)
            damage(url)
            talk = Conversation(entry["issuer"], secrets)
            late = [
                threads.submit(talk.ask, "POST", path, Content_Length="5") for path in ENDPOINTS
            ]
            provoke_answers(talk)
            for number, path in enumerate(ENDPOINTS):
                address = f"203.0.113.{number}"
                talk.ask_until(429, "POST", path, LOGIN, client="nobody", X_Forwarded_For=address)
            for asked in late:
                asked.result()
        repair(url)
        # On a machine that is busy a thread may come too late for its last answer.
        for _ in range(5):
            if not provoke_last_answers(talk, threads, tmp_path / "log", *where):
                break
    assert talk.seen == set(answers())
    assert set(error_examples()) <= talk.errors


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_lengths_and_patterns_are_those_of_the_service(database, tmp_path):
    """Each parameter at its longest and one longer, and with each character of ASCII and some others.
    The log has the reason why a request was refused."""
    _, secrets, where = database
    expected = {}
    with serving(tmp_path / "log", *where) as entry:
        talk = Conversation(entry["issuer"], secrets)
        for path in ENDPOINTS:
            for name, schema in parameters(path):
                longest = schema["maxLength"]
                values = ["x" * longest, "x" * (longest + 1)]
                if "pattern" in schema and name != "client_id":
                    values += [f"x:{character}x" for character in CHARACTERS]
                # These two are read when the client is known. With the others nobody is to log in.
                client = "web" if name in ("scope", "resource") else None
                for value in values:
                    form = {**(LOGIN if path == "/token" else {}), name: value}
                    _, headers, _ = talk.ask("POST", path, form, client=client)
                    expected[headers["X-Request-Id"]] = (path, name, value, is_valid(schema, value))
    assert len(expected) > 1_000
    for line in (tmp_path / "log").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "reason" in entry and entry["request_id"] in expected:
            path, name, value, valid = expected.pop(entry["request_id"])
            assert valid == (entry["reason"] not in MALFORMED), (path, name, value, entry["reason"])
    assert not expected


def test_schemathesis_finds_nothing(database, tmp_path):
    """It makes requests of the document, right ones and wrong ones, and holds the answers against it."""
    _, secrets, where = database
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIGURATION]
    with serving(tmp_path / "log", *where) as entry:
        done = subprocess.run(
            [*command, "run", FILE, "--url", entry["issuer"], "--no-color"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CONFIGURATION.parent), "SECRET": secrets["web"]},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
