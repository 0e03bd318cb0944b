"""Resource servers that verify tokens with PyJWT and with the npm package jose, and cache key sets as
these do at their default settings: for minutes, with a fetch for an unknown kid every 30 s at most."""

import json
import subprocess

import jwt
import requests

from conftest import AUDIENCE, ROOT, stop

SCRIPT = ROOT / "tests" / "interop" / "node" / "verify.js"
# `tests/interop/run` puts the packages here. A script is given as text because it finds them from where it runs.
PACKAGES = ROOT / "target" / "interop-node"


class UnverifiedByJose(Exception):
    """The package jose refused a token, and why."""


class ResourceServers:
    """For each replica one PyJWT client and one key set of jose, kept from token to token."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.clients = {}
        self.http = requests.Session()
        self.node = subprocess.Popen(
            ["node", "--input-type=module", "--eval", SCRIPT.read_text(encoding="utf-8")],
            cwd=PACKAGES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()
        stop(self.node)

    def published(self, jwks):
        """The names of the keys that a replica publishes now."""
        answer = self.http.get(jwks)
        answer.raise_for_status()
        return {key["kid"] for key in answer.json()["keys"]}

    def verify_by_pyjwt(self, token, jwks):
        client = self.clients.setdefault(jwks, jwt.PyJWKClient(jwks))
        return jwt.decode(
            token,
            client.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=self.issuer,
        )

    def verify_by_jose(self, token, jwks):
        request = {"token": token, "issuer": self.issuer, "audience": AUDIENCE, "jwks": jwks}
        print(json.dumps(request), file=self.node.stdin, flush=True)
        answer = json.loads(self.node.stdout.readline())
        if "error" in answer:
            raise UnverifiedByJose(answer["error"])
