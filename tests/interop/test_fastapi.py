"""The example for FastAPI takes the tokens that it should, and says what is wrong with others."""

import hashlib
import hmac
import json
import re
import time

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from conftest import ROOT, command
from fastapi_app import AUDIENCE, FOLDER, PASSWORD, listener, running, site


class Api:
    """The example, and a key of Jeton with which tokens can be made that Jeton never would."""

    def __init__(self, folder, keys, origin, issuer):
        self.origin, self.issuer = origin, issuer
        self.key = rsa.generate_private_key(65537, 2048)
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / "key.pem").write_bytes(pem)
        command("key", "import", folder / "key.pem", "--yes", *keys)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        named = json.dumps({name: jwk[name] for name in ["e", "kty", "n"]}, separators=(",", ":"))
        digest = hashlib.sha256(named.encode()).digest()
        self.kid = jwt.utils.base64url_encode(digest).decode()
        self.wait_until_it_is_published()

    def wait_until_it_is_published(self):
        for _ in range(600):
            published = requests.get(f"{self.issuer}/.well-known/jwks.json").json()["keys"]
            if self.kid in [key["kid"] for key in published]:
                return
            time.sleep(0.1)
        raise AssertionError("the imported key is not published")

    def token(self, header=(), key=None, without=None, **changes):
        """A token as Jeton makes them, but for what the arguments say."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": AUDIENCE, "sub": "u", "client_id": "docs", "jti": "j"}
        claims |= {"iat": now, "exp": now + 600, "scope": "me items", "preferred_username": "al"}
        claims |= changes
        claims.pop(without, None)
        header = {"kid": self.kid, "typ": "at+jwt", **dict(header)}
        return jwt.encode(claims, key or self.key, "RS256", header)

    def get(self, path, token):
        answer = requests.get(self.origin + path, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.headers.get("WWW-Authenticate", "")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with site(folder) as (keys, origin, issuer):
        yield Api(folder, keys, origin, issuer)


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def with_a_foreign_key(api):
    return api.token(key=rsa.generate_private_key(65537, 2048))


def with_a_header_that_pyjwt_would_not_write(api, alg, sign):
    _, claims, _ = api.token().split(".")
    header = json.dumps({"alg": alg, "kid": api.kid, "typ": "at+jwt"})
    signed = jwt.utils.base64url_encode(header.encode()).decode() + "." + claims
    return f"{signed}.{jwt.utils.base64url_encode(sign(signed.encode())).decode()}"


def not_signed(api):
    return with_a_header_that_pyjwt_would_not_write(api, "none", lambda _: b"")


def signed_with_the_public_key_as_a_secret(api):
    secret = public_pem(api.key)
    return with_a_header_that_pyjwt_would_not_write(
        api, "HS256", lambda text: hmac.digest(secret, text, "sha256")
    )


WRONG = {
    "junk": lambda api: "junk",
    "empty": lambda api: "",
    "of another issuer": lambda api: api.token(iss="https://other.example"),
    "for another audience": lambda api: api.token(aud="https://other.example"),
    "expired": lambda api: api.token(exp=int(time.time()) - 60),
    "an ID token": lambda api: api.token(header={"typ": "JWT"}),
    "without an end": lambda api: api.token(without="exp"),
    "without an audience": lambda api: api.token(without="aud"),
    "without a scope": lambda api: api.token(without="scope"),
    "of a client without --claim": lambda api: api.token(without="preferred_username"),
    "not signed": not_signed,
    "with an unknown kid": lambda api: api.token(header={"kid": "unknown"}),
    "with a foreign key": with_a_foreign_key,
    "signed with the public key": signed_with_the_public_key_as_a_secret,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_that_is_not_good_is_refused(api, wrong):
    """RFC 6750 §3.1, RFC 9068 §4."""
    assert api.get("/users/me", api.token()) == (200, "")
    status, challenge = api.get("/users/me", WRONG[wrong](api))
    assert status == 401
    assert challenge.startswith('Bearer error="invalid_token"')


def test_without_a_token_the_challenge_has_no_error(api):
    """RFC 6750 §3.1: whoever was not authenticated is not told more."""
    answer = requests.get(f"{api.origin}/users/me")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_role_opens_what_a_scope_alone_does_not(api):
    """RFC 9068 §2.2.3.1: scope is what the client may do, roles are the user's."""
    assert api.get("/items", api.token(roles=["admin"])) == (200, "")
    for token in [api.token(), api.token(roles=["admin"], scope="me")]:
        status, challenge = api.get("/items", token)
        assert status == 403
        assert challenge.startswith('Bearer error="insufficient_scope"')


def test_a_token_of_jeton_is_taken(api):
    form = {"grant_type": "password", "username": "johndoe", "password": PASSWORD}
    answer = requests.post(f"{api.issuer}/token", data={"client_id": "docs", **form}).json()
    assert api.get("/users/me", answer["access_token"]) == (200, "")
    assert api.get("/users/me/items", answer["access_token"])[0] == 403


def test_an_api_that_cannot_read_the_keys_does_not_blame_the_token(api, tmp_path):
    """RFC 6750 §3.1: invalid_token would make the client throw it away."""
    nobody, issuer = listener()
    nobody.close()
    listening, origin = listener()
    settings = {"ISSUER": issuer, "AUDIENCE": AUDIENCE, "CLIENT_ID": "docs"}
    with running("main", listening, tmp_path / "log", **settings):
        headers = {"Authorization": f"Bearer {api.token()}"}
        assert requests.get(f"{origin}/users/me", headers=headers).status_code == 503


def test_the_example_is_tested_with_the_versions_that_it_names():
    def versions(folder):
        lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
        return {re.sub(r"\[.*\]", "", line) for line in lines}

    assert versions(FOLDER) <= versions(ROOT / "tests" / "interop")
