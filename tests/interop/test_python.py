"""PyJWT and Authlib get and verify tokens of the running service."""

import jwt
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from httpx_oauth.clients.openid import OpenID
from joserfc.jwk import KeySet

from conftest import AUDIENCE, PASSWORD, USERNAME


def metadata(service):
    return requests.get(f"{service.issuer}/.well-known/oauth-authorization-server").json()


def session(service, client_id, method, scope="read write"):
    return OAuth2Session(
        client_id,
        service.secrets[client_id],
        token_endpoint_auth_method=method,
        scope=scope,
    )


def fetch(service, client_id="web", method="client_secret_basic"):
    endpoint = metadata(service)["token_endpoint"]
    with session(service, client_id, method) as client:
        return client.fetch_token(endpoint, username=USERNAME, password=PASSWORD)


@pytest.mark.parametrize(
    ("client_id", "method"),
    [("web", "client_secret_basic"), ("web", "client_secret_post"), ("app", "none")],
)
def test_authlib_gets_a_token_by_every_advertised_method(service, client_id, method):
    """RFC 8414 §2: each method that is advertised works. [M-11]"""
    assert method in metadata(service)["token_endpoint_auth_methods_supported"]
    token = fetch(service, client_id, method)
    assert token["token_type"] == "Bearer"
    assert token["scope"] == "read write"


def test_httpx_oauth_has_no_use_for_a_service_without_an_authorization_endpoint(service):
    """RFC 8414 §2, §3.2: what is not there is not in the document, and redirecting is all that it does. [M-25]"""
    with pytest.raises(KeyError, match="authorization_endpoint"):
        OpenID("web", service.secrets["web"], f"{service.issuer}/.well-known/openid-configuration")


def test_pyjwt_verifies_a_token_knowing_only_the_issuer(service):
    """RFC 9068 §2.1: the signature verifies in two independent libraries. [J-03]"""
    token = fetch(service)["access_token"]
    keys = jwt.PyJWKClient(metadata(service)["jwks_uri"])
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=service.issuer,
        options={"require": ["exp", "iat", "jti", "sub", "client_id"]},
    )
    assert claims["client_id"] == "web"
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            audience="https://other.example",
        )


def test_authlib_verifies_a_token_by_the_profile_of_rfc_9068(service):
    class Validator(JWTBearerTokenValidator):
        def get_jwks(self):
            return KeySet.import_key_set(requests.get(metadata(service)["jwks_uri"]).json())

    validator = Validator(service.issuer, resource_server=AUDIENCE)
    claims = validator.authenticate_token(fetch(service)["access_token"])
    validator.validate_token(claims, ["read"], None)
    assert claims["scope"] == "read write"


def test_authlib_introspects_a_token(service):
    class Validator(IntrospectTokenValidator):
        def introspect_token(self, token_string):
            return requests.post(
                metadata(service)["introspection_endpoint"],
                data={"token": token_string, "token_type_hint": "access_token"},
                auth=("api", service.secrets["api"]),
            ).json()

    validator = Validator()
    token = validator.authenticate_token(fetch(service)["access_token"])
    validator.validate_token(token, ["read"], None)
    assert (token["active"], token["username"]) == (True, USERNAME)
    assert not validator.authenticate_token("junk")["active"]
