"""An application that was written for Keycloak: it finds everything by the URL of its realm, logs its users in by the
password grant with Authlib, and its API verifies the tokens with PyJWT. Nothing in it knows of Jeton.

    python3 tests/interop/moving/application.py http://127.0.0.1:8080/realms/shop CLIENT SECRET AUDIENCE USER PASSWORD
"""

import sys

import jwt
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session


class Application:
    """The client and the API. `issuer` is the one URL that changes."""

    def __init__(self, issuer, client_id, client_secret, audience):
        session = requests.Session()
        session.trust_env = False
        metadata = session.get(f"{issuer}/.well-known/openid-configuration").json()
        self.issuer = metadata["issuer"]
        self.token_endpoint = metadata["token_endpoint"]
        self.client_id = client_id
        self.client_secret = client_secret
        self.audience = audience
        self.keys = jwt.PyJWKClient(metadata["jwks_uri"])

    def session(self, **more):
        session = OAuth2Session(self.client_id, self.client_secret, token_endpoint=self.token_endpoint, **more)
        session.trust_env = False
        return session

    def log_in(self, username, password, **more):
        """The tokens, or nothing if the login is refused as a wrong password is."""
        try:
            return self.session().fetch_token(
                self.token_endpoint, grant_type="password", username=username, password=password, scope="openid", **more
            )
        except OAuthError as error:
            if error.error != "invalid_grant":
                raise
            return None

    def refresh(self, tokens):
        return self.session(token=tokens).refresh_token(self.token_endpoint, tokens["refresh_token"])

    def user(self, tokens):
        """Who the API takes the bearer of an access token for."""
        token = tokens["access_token"]
        key = self.keys.get_signing_key_from_jwt(token)
        return jwt.decode(token, key, algorithms=["RS256"], audience=self.audience, issuer=self.issuer)["sub"]

    def is_in_order(self, username, password, sub, **more):
        """Logs in with the right password and with a wrong one, refreshes, and asks the API."""
        tokens = self.log_in(username, password, **more)
        if tokens is None:
            return False
        assert self.user(tokens) == sub
        assert self.user(self.refresh(tokens)) == sub
        assert self.log_in(username, password + "x", **more) is None
        return True


if __name__ == "__main__":
    issuer, client_id, secret, audience, username, password = sys.argv[1:]
    application = Application(issuer, client_id, secret or None, audience)
    tokens = application.log_in(username, password)
    print(application.user(application.refresh(tokens)))
