"""Every block of docs/verify.md is run as it stands, against a running Jeton."""

import contextlib
import functools
import re
import socket
import subprocess

import pytest
import requests

from conftest import ENGINES
from verification import AUDIENCE, INVALID, PACKAGES
from verification import blocks, deployed, free_port, wait_until

# Resource servers that verify by themselves, and those that ask.
VERIFYING = [
    "pyjwt_api.py",
    "authlib_api.py",
    "jose_api.mjs",
    "express_api.mjs",
    "aws_api.mjs",
    "oauth4webapi_api.mjs",
]
ASKING = ["introspecting_api.py"]
# Whose library calls a token invalid when the keys cannot be had.
BLAMING = ["express_api.mjs"]


class Api:
    """A resource server out of the document."""

    def __init__(self, file, port):
        self.file = file
        self.url = f"http://127.0.0.1:{port}/notes"

    def ask(self, authorization=None):
        headers = {"Authorization": authorization} if authorization else {}
        return requests.get(self.url, headers=headers, timeout=30)


def is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextlib.contextmanager
def running(file, folder, environment):
    """Runs a block by its own command."""
    block = blocks()[file]
    (folder / file).write_text(block.text, encoding="utf-8")
    (folder / "node_modules").symlink_to(PACKAGES / "node_modules")
    port = free_port()
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {block.command}"],
            cwd=folder,
            env={**environment, "PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: process.poll() is not None or is_listening(port), file)
        assert process.poll() is None, (folder / "log").read_text()
        yield Api(file, port)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module", params=ENGINES)
def deployment(request, tmp_path_factory):
    with deployed(request.param, tmp_path_factory.mktemp(request.param), "https") as service:
        yield service


@pytest.fixture(scope="module")
def started(deployment, tmp_path_factory):
    """Resource servers by file, each started when it is first asked for."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(file, **changes):
            folder = tmp_path_factory.mktemp("api")
            environment = {**deployment.environment(), **changes}
            return stack.enter_context(running(file, folder, environment))

        yield start


@pytest.fixture(params=[*VERIFYING, *ASKING])
def api(request, started):
    return started(request.param)


def challenge(answer):
    """The error code and the scope of the one challenge of an answer (RFC 6750 §3)."""
    said = answer.headers["WWW-Authenticate"]
    assert re.match(r"Bearer\b", said), said
    return dict(re.findall(r'(error|scope)="([^"]*)"', said))


def test_every_block_of_the_document_is_run():
    """None is on the page because it looks right."""
    assert set(blocks()) == {"sh", *VERIFYING, *ASKING}


def test_a_good_token_is_let_in(api, deployment):
    """RFC 6750 §2.1: the scheme is compared without regard to case. A token that is signed here with
    the service's own key is as good, so whatever else is refused is refused for what is wrong in it."""
    for scheme, token in [
        ("Bearer", deployment.good),
        ("bearer", deployment.good),
        ("Bearer", deployment.signed()),
        ("Bearer", deployment.signed(aud=[AUDIENCE])),
    ]:
        answer = api.ask(f"{scheme} {token}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["sub"]


def test_no_token_is_answered_with_a_bare_challenge(api):
    """RFC 6750 §3.1: whoever brings no credentials is told no error."""
    answer = api.ask()
    assert answer.status_code == 401
    assert challenge(answer) == {}


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", "Bearer a b"])
def test_what_is_no_bearer_token_is_refused(api, authorization):
    """RFC 6750 §3.1: 401, or 400 from a library that calls it a malformed request."""
    answer = api.ask(authorization)
    assert answer.status_code in (400, 401)
    assert challenge(answer).get("error") in (None, "invalid_request", "invalid_token")


@pytest.mark.parametrize("wrong", INVALID)
def test_a_token_with_something_wrong_is_refused(api, deployment, wrong):
    """RFC 9068 §4, RFC 8725 §3, RFC 6750 §3.1."""
    answer = api.ask(f"Bearer {INVALID[wrong](deployment)}")
    assert answer.status_code == 401, answer.text
    assert challenge(answer) == {"error": "invalid_token"}


def test_a_token_without_the_scope_is_refused_with_the_scope_that_is_needed(api, deployment):
    """RFC 6750 §3.1: it is good, and not for this."""
    tokens = [deployment.other_scope, deployment.signed(scope="readers write")]
    if api.file in VERIFYING:
        # Jeton, when asked, knows that it makes none of the kind.
        tokens.append(deployment.signed(without=["scope"]))
    for token in tokens:
        answer = api.ask(f"Bearer {token}")
        assert answer.status_code == 403, answer.text
        assert challenge(answer) == {"error": "insufficient_scope", "scope": "read"}


@pytest.mark.parametrize("file", [*VERIFYING, *ASKING])
def test_a_server_that_cannot_prove_itself_is_not_believed(started, deployment, file):
    """RFC 8414 §6.2: keys and answers come over TLS, from whom the certificate names. That they cannot
    be had is no fault of the caller, who would throw a good token away at a 401."""
    nothing = dict.fromkeys(["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"], "")
    answer = started(file, **nothing).ask(f"Bearer {deployment.good}")
    if file in BLAMING:
        assert answer.status_code == 401
    else:
        assert 500 <= answer.status_code < 600


def test_only_who_asks_learns_of_a_revocation_at_once(api, deployment):
    """RFC 7662 §4, RFC 9068 §5: what is verified by its signature is good until it expires."""
    token = deployment.token()
    assert api.ask(f"Bearer {token}").status_code == 200
    deployment.revoke(token)
    answer = api.ask(f"Bearer {token}")
    assert answer.status_code == (401 if api.file in ASKING else 200)
