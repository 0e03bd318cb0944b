"""Client libraries send a one-time password beside the password, and authenticators that no one here wrote compute it:
pyotp, and oathtool of Debian."""

import json
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from client_libraries import Refused
from conftest import jeton
from test_clients import PASSWORD, READ, add_user, service  # noqa: F401

PERIOD = 30


def by_pyotp(secret, at):
    return pyotp.TOTP(secret).at(at)


def by_oathtool(secret, at):
    oathtool = ["oathtool", "--totp", "--base32", f"--now=@{at}", secret]
    return subprocess.run(oathtool, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("parameter", ["otp", "totp"])
@pytest.mark.parametrize("library", ["requests-oauthlib", "simple-oauth2", "openid-client"])
@pytest.mark.parametrize("code", [by_pyotp, by_oathtool])
def test_a_client_logs_in_with_a_one_time_password(service, library, parameter, code):  # noqa: F811
    """RFC 6238, RFC 4226. `totp` is what Keycloak's clients send. [O-01] [O-04] [O-06]"""
    user = f"{code.__name__}-{library}-{parameter}".replace("_", "-")
    options = [*service.database, "--master-key-file", service.master_key]
    add_user(user, service.database)
    added = jeton("user", "otp", "add", user, *options)
    secret = parse_qs(urlsplit(added["otpauth"]).query)["secret"][0]
    now = int(time.time())
    confirmed = jeton("user", "otp", "confirm", user, code(secret, now), *options)
    assert len(confirmed["recovery_codes"]) == 10
    with service.client(library) as client:
        with pytest.raises(Refused) as refused:
            client.log_in(user, PASSWORD, scope=READ)
        assert refused.value.code == "invalid_grant"
        # The code that proved the authenticator is used up, so this is the next one.
        token = client.log_in(user, PASSWORD, scope=READ, **{parameter: code(secret, now + PERIOD)})
        assert json.dumps(token["access_token"])
