"""Authlib and requests-oauthlib keep a session going by themselves, until they end it."""

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from conftest import PASSWORD, USERNAME
from test_python import metadata

HINT = "refresh_token"


def is_active(service, token):
    answer = requests.post(
        metadata(service)["introspection_endpoint"],
        data={"token": token["access_token"]},
        auth=("api", service.secrets["api"]),
    )
    return answer.json()["active"]


def saw(answer):
    """What the resource server was sent as a bearer token."""
    return answer.request.headers["Authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize(
    ("client_id", "method"),
    [("web", "client_secret_basic"), ("web", "client_secret_post"), ("app", "none")],
)
def test_authlib_refreshes_by_itself_until_it_revokes(service, client_id, method):
    """RFC 6749 §6, RFC 7009 §2. [TR-01] [TR-11] [R-03] [R-08] [R-12]"""
    endpoints, told = metadata(service), []
    with AuthlibSession(
        client_id,
        service.secrets[client_id],
        token_endpoint_auth_method=method,
        scope="read write",
        token_endpoint=endpoints["token_endpoint"],
        update_token=lambda token, **_: told.append(token),
    ) as client:
        first = client.fetch_token(username=USERNAME, password=PASSWORD)
        client.token = {**first, "expires_at": 1}
        answer = client.get(endpoints["jwks_uri"])
        [second] = told
        assert saw(answer) == second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]
        assert is_active(service, second)

        token = second["refresh_token"]
        client.revoke_token(
            endpoints["revocation_endpoint"], token=token, token_type_hint=HINT
        ).raise_for_status()
        assert not is_active(service, second)
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.refresh_token(endpoints["token_endpoint"], refresh_token=token)


@pytest.mark.parametrize("client_id", ["web", "app"])
def test_requests_oauthlib_refreshes_by_itself_until_it_revokes(service, client_id, monkeypatch):
    """RFC 6749 §6, RFC 7009 §2. [TR-01] [TR-11] [R-03] [R-08] [R-12]"""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    endpoints, told = metadata(service), []
    secret = service.secrets[client_id]
    application = LegacyApplicationClient(client_id, scope=["read", "write"])
    named = {} if secret else {"client_id": client_id}
    with OAuth2Session(
        client=application,
        auto_refresh_url=endpoints["token_endpoint"],
        auto_refresh_kwargs=named,
        token_updater=told.append,
    ) as client:
        first = client.fetch_token(
            endpoints["token_endpoint"],
            username=USERNAME,
            password=PASSWORD,
            client_secret=secret,
            include_client_id=secret is None,
            auth=(client_id, secret) if secret else None,
        )
        client.token = {**first, "expires_at": 1}
        answer = client.get(endpoints["jwks_uri"], client_id=client_id, client_secret=secret)
        [second] = told
        assert saw(answer) == second["access_token"] != first["access_token"]
        assert second["refresh_token"] != first["refresh_token"]
        assert is_active(service, second)

        auth = (client_id, secret) if secret else None
        url, headers, body = application.prepare_token_revocation_request(
            endpoints["revocation_endpoint"], second["refresh_token"], HINT, **named
        )
        requests.post(url, data=body, headers=headers, auth=auth).raise_for_status()
        assert not is_active(service, second)
        with pytest.raises(InvalidGrantError):
            client.refresh_token(endpoints["token_endpoint"], auth=auth, **named)
