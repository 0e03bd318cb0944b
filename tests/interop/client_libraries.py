"""Clients, each on a library that no one here wrote, that can all be asked to do the same.

`log_in` and `refresh` return what the library made of the answer. `Refused` is raised with the error code
that the library read, and with the library's own name for that error."""

import asyncio
import json
import os
import ssl
import subprocess

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import LegacyApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

from conftest import ROOT, stop

TARGET = ROOT / "target"
# A script is given as text because Node finds packages from where it runs.
PACKAGES = TARGET / "interop-node"
SCRIPT = ROOT / "tests" / "interop" / "node" / "client.js"
RUST = TARGET / "interop-rust" / "debug" / "client"


class Refused(Exception):
    """The service refused, and the library said so."""

    def __init__(self, code, kind):
        super().__init__(f"{kind}: {code}")
        self.code = code
        self.kind = kind


class Identity:
    """Who a client is, how it proves that, and where the service is."""

    def __init__(self, issuer, authority, method, client_id, secret):
        self.issuer = issuer
        self.authority = str(authority)
        self.method = method
        self.client_id = client_id
        self.secret = secret

    def at(self, path):
        return f"{self.issuer}/{path}"


class Client:
    """What all have in common."""

    def __init__(self, identity):
        self.identity = identity

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class RequestsOauthlib(Client):
    """requests-oauthlib, which has no introspection, and leaves sending a revocation to its user."""

    def __init__(self, identity):
        super().__init__(identity)
        basic = identity.method == "client_secret_basic"
        self.auth = (identity.client_id, identity.secret) if basic else None
        self.in_body = {} if basic else {"client_id": identity.client_id}
        if identity.method == "client_secret_post":
            self.in_body["client_secret"] = identity.secret

    def session(self, scope):
        application = LegacyApplicationClient(self.identity.client_id, scope=scope)
        session = OAuth2Session(client=application)
        session.trust_env = False  # which would name another authority
        session.verify = self.identity.authority
        return session

    def log_in(self, username, password, scope=None, **further):
        named = {"client_secret": self.identity.secret} if self.in_body else {"auth": self.auth}
        return self.told(
            self.session(scope).fetch_token,
            username=username,
            password=password,
            include_client_id=bool(self.in_body),
            **named,
            **further,
        )

    def refresh(self, refresh_token, scope=None):
        session = self.session(scope)
        return self.told(
            session.refresh_token, refresh_token=refresh_token, auth=self.auth, **self.in_body
        )

    def told(self, ask, **parameters):
        try:
            return ask(self.identity.at("token"), **parameters)
        except OAuth2Error as error:
            raise Refused(error.error, type(error).__name__) from error

    def revoke(self, token, token_type_hint):
        application = LegacyApplicationClient(self.identity.client_id)
        url, headers, body = application.prepare_token_revocation_request(
            self.identity.at("revoke"), token, token_type_hint, **self.in_body
        )
        session = self.session(None)
        answer = session.post(url, data=body, headers=headers, auth=self.auth, withhold_token=True)
        answer.raise_for_status()


class Authlib(Client):
    """Authlib on requests."""

    def session(self, **options):
        identity = self.identity
        session = AuthlibSession(identity.client_id, identity.secret, **options)
        session.trust_env = False
        session.verify = identity.authority
        return session

    def methods(self):
        method = self.identity.method
        return {
            "token_endpoint_auth_method": method,
            # It would be Basic for every client with a secret.
            "revocation_endpoint_auth_method": method,
        }

    def ask(self, act, path, **parameters):
        with self.session(**self.methods()) as session:
            return getattr(session, act)(self.identity.at(path), **parameters)

    def told(self, act, **parameters):
        try:
            return self.ask(act, "token", **parameters)
        except OAuthError as error:
            raise Refused(error.error, type(error).__name__) from error

    def log_in(self, username, password, **scope):
        return self.told("fetch_token", username=username, password=password, **scope)

    def refresh(self, refresh_token, **scope):
        return self.told("refresh_token", refresh_token=refresh_token, **scope)

    def introspect(self, token):
        answer = self.ask("introspect_token", "introspect", token=token)
        answer.raise_for_status()
        return answer.json()

    def revoke(self, token, token_type_hint):
        answer = self.ask("revoke_token", "revoke", token=token, token_type_hint=token_type_hint)
        answer.raise_for_status()


class AuthlibOnHttpx(Authlib):
    """Authlib on httpx, which is asynchronous."""

    def ask(self, act, path, **parameters):
        async def asked():
            identity = self.identity
            verify = ssl.create_default_context(cafile=identity.authority)
            options = self.methods()
            async with AsyncOAuth2Client(
                identity.client_id, identity.secret, verify=verify, **options
            ) as client:
                return await getattr(client, act)(identity.at(path), **parameters)

        return asyncio.run(asked())


class Curl(Client):
    """curl, as the README has it."""

    def post(self, path, **parameters):
        identity = self.identity
        command = ["curl", "-s", "--cacert", identity.authority, identity.at(path)]
        if identity.method == "client_secret_basic":
            command += ["-u", f"{identity.client_id}:{identity.secret}"]
        else:
            parameters["client_id"] = identity.client_id
        if identity.method == "client_secret_post":
            parameters["client_secret"] = identity.secret
        for parameter in parameters.items():
            command += ["--data-urlencode", "=".join(parameter)]
        done = subprocess.run(
            [*command, "-w", "\n%{http_code}"], capture_output=True, check=True, text=True
        )
        content, status = done.stdout.rsplit("\n", 1)
        if status != "200":
            raise Refused(json.loads(content)["error"], status)
        return json.loads(content)

    def log_in(self, username, password, **scope):
        named = {"username": username, "password": password}
        return self.post("token", grant_type="password", **named, **scope)

    def refresh(self, refresh_token, **scope):
        return self.post("token", grant_type="refresh_token", refresh_token=refresh_token, **scope)

    def introspect(self, token):
        return self.post("introspect", token=token)

    def revoke(self, token, token_type_hint):
        self.post("revoke", token=token, token_type_hint=token_type_hint)


class Program(Client):
    """A client that runs as a program of its own, and is told by lines what to do."""

    def __init__(self, identity, *command, environment=None, **options):
        super().__init__(identity)
        told = {
            "issuer": identity.issuer,
            "authority": identity.authority,
            "method": identity.method,
            "client_id": identity.client_id,
            "client_secret": identity.secret,
            **options,
        }
        self.process = subprocess.Popen(
            [*command, json.dumps(told)],
            cwd=PACKAGES,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __exit__(self, *_):
        stop(self.process)

    def ask(self, act, **parameters):
        print(json.dumps({"act": act, **parameters}), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if answer and "error" in answer:
            raise Refused(answer["error"], answer["kind"])
        return answer

    def log_in(self, username, password, **scope):
        return self.ask("log_in", username=username, password=password, **scope)

    def refresh(self, refresh_token, **scope):
        return self.ask("refresh", refresh_token=refresh_token, **scope)

    def introspect(self, token):
        return self.ask("introspect", token=token)

    def revoke(self, token, token_type_hint):
        self.ask("revoke", token=token, token_type_hint=token_type_hint)


def rust(identity):
    """The crate `oauth2`."""
    return Program(identity, RUST)


def node(package, **options):
    """A package of npm."""

    def client(identity):
        script = SCRIPT.read_text(encoding="utf-8")
        command = ["node", "--input-type=module", "--eval", script, "--"]
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": identity.authority}
        return Program(identity, *command, environment=environment, package=package, **options)

    return client
