"""Every block of docs/verify*.md is run as it stands, against a running Jeton."""

import contextlib
import functools
import re

import pytest

from certificates import Certificate
from conftest import ENGINES
from verification import AUDIENCE, INVALID
from verification import blocks, deployed, free_port, new_key, wait_until
from verifiers import running

# Resource servers that verify by themselves, those that ask, and those that remember the answer.
VERIFYING = [
    "pyjwt_api.py",
    "authlib_api.py",
    "jose_api.mjs",
    "express_api.mjs",
    "aws_api.mjs",
    "oauth4webapi_api.mjs",
    "verify.rs",
    "AtJwt.java",
    "NimbusApi.java",
    "haproxy.cfg",
    "apache.conf",
]
ASKING = ["introspecting_api.py", "introspecting.properties"]
REMEMBERING = ["api.conf.template"]
RUN = [*VERIFYING, *ASKING, *REMEMBERING]
# Run with another block, or for all of them.
RUN_ALONG = {"sh", "introspection.js", "SpringApi.java"}
# Run by test_java.py.
RUN_ELSEWHERE = {"verifying.properties", "text"}
# Who calls a token invalid when the keys cannot be had.
BLAMING = ["express_api.mjs", "apache.conf"]
# Who fetches the keys for each unknown name.
FETCHING = ["apache.conf", "AtJwt.java"]
# Who answers some tokens otherwise, as the document says.
DEPARTURES = {
    "apache.conf": {
        "another type": 200,
        "no type": 200,
        "another algorithm": 200,
        "another issuer": 403,
        "another audience": 403,
    }
}
# Who does not say which scope is needed.
SILENT = ["AtJwt.java", "introspecting.properties"]
# Which are given the key as a file, and read an audience only if it is a string.
STATIC = ["haproxy.cfg"]
# The verifier in Rust is built without TLS.
SCHEMES = {"verify.rs": "http"}


@pytest.fixture(scope="module")
def deployment_for(tmp_path_factory):
    """Deployments by engine and the scheme of the issuer, each made when it is first asked for."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def deploy(engine, scheme):
            folder = tmp_path_factory.mktemp(f"{engine}-{scheme}")
            return stack.enter_context(deployed(engine, folder, scheme))

        yield lambda engine, file: deploy(engine, SCHEMES.get(file, "https"))


@pytest.fixture(scope="module", params=RUN)
def file(request):
    return request.param


@pytest.fixture(scope="module", params=ENGINES)
def deployment(request, deployment_for, file):
    return deployment_for(request.param, file)


@pytest.fixture(scope="module")
def api(file, deployment, tmp_path_factory):
    with running(file, tmp_path_factory.mktemp("api"), deployment.environment()) as server:
        yield server


def challenge(answer):
    """The error code and the scope of the one challenge of an answer (RFC 6750 §3)."""
    said = answer.headers["WWW-Authenticate"]
    assert re.match(r"Bearer\b", said), said
    assert len(re.findall(r"\bBearer\b", re.sub(r'"[^"]*"', "", said))) == 1, said
    return dict(re.findall(r'(error|scope)="([^"]*)"', said))


def test_every_block_of_the_documents_is_run():
    """None is there because it looks right."""
    assert set(blocks()) == {*RUN, *RUN_ALONG, *RUN_ELSEWHERE}


def test_a_good_token_is_let_in(file, api, deployment):
    """RFC 6750 §2.1, RFC 9110 §11.1: the scheme is compared without regard to case. A token that is
    signed here with the service's own key is as good, so whatever else is refused is refused for what is
    wrong in it. [J-03]"""
    tokens = [deployment.good, deployment.signed()]
    if file not in STATIC:
        tokens.append(deployment.signed(aud=[AUDIENCE]))
    for authorization in [f"bearer {deployment.good}", *(f"Bearer {token}" for token in tokens)]:
        answer = api.ask(authorization)
        assert answer.status_code == 200, answer.text
        assert answer.json()["sub"] == deployment.subject


def test_no_token_is_answered_with_a_bare_challenge(file, api):
    """RFC 6750 §3.1: whoever brings no credentials is told no error."""
    answer = api.ask()
    assert answer.status_code == 401
    assert challenge(answer) == ({"error": "invalid_request"} if file == "apache.conf" else {})


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", "Bearer a b"])
def test_what_is_no_bearer_token_is_refused(api, authorization):
    """RFC 6750 §3.1: 401, or 400 from a library that calls it a malformed request."""
    answer = api.ask(authorization)
    assert answer.status_code in (400, 401)
    assert challenge(answer).get("error") in (None, "invalid_request", "invalid_token")


@pytest.mark.parametrize("wrong", INVALID)
def test_a_token_with_something_wrong_is_refused(file, api, deployment, wrong):
    """RFC 9068 §4, RFC 8725 §3, RFC 6750 §3.1. A token of another audience is also not active. [I-20]"""
    answer = api.ask(f"Bearer {INVALID[wrong](deployment)}")
    expected = DEPARTURES.get(file, {}).get(wrong, 401)
    assert answer.status_code == expected, answer.text
    if expected == 401:
        assert challenge(answer)["error"] == "invalid_token"


def test_a_token_without_the_scope_is_refused_with_the_scope_that_is_needed(file, api, deployment):
    """RFC 6750 §3.1: it is good, and not for this."""
    tokens = [deployment.other_scope, deployment.signed(scope="readers write")]
    if file in VERIFYING:
        # Jeton, when asked, knows that it makes none of the kind.
        tokens.append(deployment.signed(without=["scope"]))
    for token in tokens:
        answer = api.ask(f"Bearer {token}")
        assert answer.status_code == 403, answer.text
        needed = {} if file in SILENT else {"scope": "read"}
        assert challenge(answer) == {"error": "insufficient_scope", **needed}


@pytest.mark.parametrize("file", [file for file in RUN if file not in STATIC], scope="module")
def test_a_server_that_cannot_prove_itself_is_not_believed(file, deployment, tmp_path):
    """Keys and answers are taken from whom a certificate names, and nobody else. That they cannot be had
    is no fault of the caller, who would throw a good token away at a 401."""
    environment = deployment.environment(authority=Certificate(tmp_path).authority)
    if deployment.issuer.startswith("http:"):
        environment["ISSUER"] = f"http://localhost:{free_port()}"
    folder = tmp_path / "api"
    folder.mkdir()
    with running(file, folder, environment) as api:
        answer = api.ask(f"Bearer {deployment.good}")
    if file in BLAMING:
        assert answer.status_code == 401
    else:
        assert 500 <= answer.status_code < 600


def test_only_who_asks_learns_of_a_revocation(file, api, deployment):
    """RFC 7662 §4, RFC 9068 §5: what is verified by its signature is good until it expires, and so is an
    answer that is remembered. [R-04]"""
    authorization = f"Bearer {deployment.token()}"
    assert api.ask(authorization).status_code == 200
    deployment.revoke(authorization.split()[1])
    if file in REMEMBERING:
        wait_until(lambda: api.ask(authorization).status_code == 401, "it is remembered for ever")
    else:
        assert api.ask(authorization).status_code == (401 if file in ASKING else 200)


@pytest.mark.parametrize("with_cache", [True, False])
@pytest.mark.parametrize("file", REMEMBERING, scope="module")
def test_nginx_asks_less_with_its_cache_and_each_time_without(
    file, deployment, tmp_path, with_cache
):
    """RFC 7662 §4: a cache spares requests, and what it costs is that a token outlives its revocation. The
    document says which lines to leave out."""
    authorization, asked = f"Bearer {deployment.token()}", 50
    with running(file, tmp_path, deployment.environment(), with_cache=with_cache) as api:
        before = deployment.requests("introspection")
        for _ in range(asked):
            assert api.ask(authorization).status_code == 200
        introspected = deployment.requests("introspection") - before
        assert 0 < introspected < asked if with_cache else introspected == asked
        deployment.revoke(authorization.split()[1])
        assert with_cache or api.ask(authorization).status_code == 401


@pytest.mark.parametrize(
    "file", [file for file in VERIFYING if file not in FETCHING], scope="module"
)
def test_invented_keys_do_not_make_it_fetch_again_and_again(file, api, deployment):
    """RFC 8725 §3.10: what stands in a token makes nobody send request after request."""
    api.ask(f"Bearer {deployment.good}")
    stranger, before = new_key(), deployment.requests("jwks")
    for number in range(20):
        token = deployment.signed(key=stranger, header={"kid": f"invented-{number}"})
        assert api.ask(f"Bearer {token}").status_code == 401
    assert deployment.requests("jwks") - before <= 2
