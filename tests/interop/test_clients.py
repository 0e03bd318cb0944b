"""Client libraries that no one here wrote do with a running service, over TLS, all that they can do.

User name, password and scope are hard to encode. The clients' ids and secrets have every character on
which the two encodings of HTTP Basic could differ: some libraries encode what they send there, some do not."""

import contextlib
import json
import re
import socket
import tomllib

import pytest

import conftest
from certificates import HOST, Certificate
from client_libraries import Authlib, AuthlibOnHttpx, Curl, Identity, Refused, RequestsOauthlib
from client_libraries import node, rust
from conftest import AUDIENCE, ENGINES, ROOT, command, jeton, new_database, serving

USERNAME = "jürgen"
PASSWORD = "tuesday %&+=£€;fern 🔑"
IN_ASCII = (conftest.USERNAME, conftest.PASSWORD)
READ = "orders:read"
WRITE = "files/*:write"
BOTH = f"{READ} {WRITE}"
GETS_TOKENS = ["--grant", "password", "--grant", "refresh_token", "--audience", AUDIENCE]
GETS_TOKENS += ["--scope", BOTH, "--default-scope", READ]
# The cheapest hash that is allowed, because most of this is not about logins.
COST = ["--scrypt", "ln=15,r=8,p=3"]
CONFIDENTIAL = "web_1.0-beta"
PUBLIC = "app_1.0-beta"
INTROSPECTING = "api_1.0-beta"
CLIENT_IDS = {
    "client_secret_basic": CONFIDENTIAL,
    "client_secret_post": CONFIDENTIAL,
    "none": PUBLIC,
}
LIBRARIES = {
    "requests-oauthlib": RequestsOauthlib,
    "Authlib with requests": Authlib,
    "Authlib with httpx": AuthlibOnHttpx,
    "simple-oauth2": node("simple-oauth2", encoding="strict"),
    "simple-oauth2, loose": node("simple-oauth2", encoding="loose"),
    "openid-client": node("openid-client"),
    "oauth4webapi": node("oauth4webapi"),
    "oauth2 of Rust": rust,
    "curl": Curl,
}
INTROSPECT = ["Authlib with requests", "Authlib with httpx", "openid-client", "oauth4webapi"]
INTROSPECT += ["oauth2 of Rust", "curl"]
# What each calls a wrong password, and a wrong secret.
ERRORS = {
    "requests-oauthlib": ("InvalidGrantError", "InvalidClientError"),
    "Authlib with requests": ("OAuthError", "OAuthError"),
    "Authlib with httpx": ("OAuthError", "OAuthError"),
    "simple-oauth2": ("Response Error: 400 Bad Request", "Response Error: 401 Unauthorized"),
    "openid-client": ("ResponseBodyError", "WWWAuthenticateChallengeError"),
    "oauth4webapi": ("ResponseBodyError", "WWWAuthenticateChallengeError"),
    "oauth2 of Rust": ("ServerResponse", "ServerResponse"),
    "curl": ("400", "401"),
}


class Service:
    """The service, and whom clients have to say they are."""

    def __init__(self, issuer, database, master_key, authority, secrets):
        self.issuer = issuer
        self.database = database
        self.master_key = master_key
        self.authority = authority
        self.secrets = secrets

    def identity(self, client_id, method="client_secret_basic", secret=None):
        secret = secret or self.secrets[client_id]
        return Identity(self.issuer, self.authority, method, client_id, secret)

    def mistaken_identity(self):
        return self.identity(CONFIDENTIAL, secret=self.secrets[INTROSPECTING])

    def client(self, library, method="client_secret_basic"):
        return LIBRARIES[library](self.identity(CLIENT_IDS[method], method))


def free_port():
    with socket.socket() as held:
        held.bind((HOST, 0))
        return held.getsockname()[1]


def add_user(name, database, password=PASSWORD):
    options = ["--password-stdin", *COST, *database]
    jeton("user", "add", name, *options, stdin=password + "\n")


def with_secret(client_id, database, *options):
    """Adds a client, and returns a secret of it that has both `-` and `_`."""
    secret = jeton("client", "add", client_id, *options, *database)["client_secret"]
    while not {"-", "_"} <= set(secret):
        secret = jeton("client", "secret", "add", client_id, *database)["client_secret"]
    return secret


@contextlib.contextmanager
def service_on(engine, folder):
    database = ["--database", new_database(engine, folder)]
    for name, password in [(USERNAME, PASSWORD), IN_ASCII]:
        add_user(name, database, password)
    introspects = ["--introspects", AUDIENCE, "--introspects-username"]
    jeton("client", "add", PUBLIC, *GETS_TOKENS, "--public", *database)
    secrets = {
        CONFIDENTIAL: with_secret(CONFIDENTIAL, database, *GETS_TOKENS),
        INTROSPECTING: with_secret(INTROSPECTING, database, *introspects),
        PUBLIC: None,
    }
    certificate = Certificate(folder)
    port = free_port()
    issuer = f"https://{HOST}:{port}"
    options = [*database, "--master-key-file", folder / "master.jwk", "--issuer", issuer]
    options += COST + ["--tls-certificate", certificate.chain, "--tls-key", certificate.key]
    with serving(folder / "log", *options, listen=f"{HOST}:{port}"):
        yield Service(issuer, database, folder / "master.jwk", certificate.authority, secrets)


@pytest.fixture(scope="module", params=ENGINES)
def service(request, tmp_path_factory):
    with service_on(request.param, tmp_path_factory.mktemp(request.param)) as service:
        yield service


# What a library makes of an answer does not depend on where the service keeps its data.
on_one_engine = pytest.mark.parametrize("service", ["sqlite"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def suspicious_service(tmp_path_factory):
    """A service that has seen too many wrong secrets from here."""
    with service_on("sqlite", tmp_path_factory.mktemp("sqlite")) as service:
        with Curl(service.mistaken_identity()) as client:
            for _ in range(10):
                assert refusal(client).code == "invalid_client"
        yield service


def scope(token):
    """The values of a token's scope, which some libraries keep in a list."""
    values = token["scope"]
    return set(values.split() if isinstance(values, str) else values)


def log_in(client):
    in_body = client.identity.method != "client_secret_basic"
    # See the test that says why.
    limited = isinstance(client, AuthlibOnHttpx) and in_body
    username, password = IN_ASCII if limited else (USERNAME, PASSWORD)
    return client.log_in(username, password, scope=BOTH)


def refusal(client):
    with pytest.raises(Refused) as refused:
        log_in(client)
    return refused.value


@pytest.mark.parametrize("method", CLIENT_IDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_logs_in_and_refreshes_until_it_logs_out(service, library, method):
    """RFC 6749 §2.3.1, §4.3, §6, RFC 7009 §2. [TC-01] [TC-02] [TC-11] [TR-01] [TR-08] [TR-09]
    [TR-10] [R-03] [R-08] [M-11] [TP-23] [TP-29]"""
    with service.client(library, method) as client:
        first = log_in(client)
        assert first["token_type"].lower() == "bearer"
        assert first["expires_in"] == 600
        assert scope(first) == {READ, WRITE}

        narrow = client.refresh(first["refresh_token"], scope=READ)
        assert scope(narrow) == {READ}
        assert narrow["access_token"] != first["access_token"]
        with pytest.raises(Refused) as refused:
            client.refresh(narrow["refresh_token"], scope=f"{READ} admin")
        assert refused.value.code == "invalid_scope"
        whole = client.refresh(narrow["refresh_token"])
        assert scope(whole) == {READ, WRITE}

        client.revoke(whole["refresh_token"], "refresh_token")
        with pytest.raises(Refused) as refused:
            client.refresh(whole["refresh_token"])
        assert refused.value.code == "invalid_grant"


@on_one_engine
@pytest.mark.parametrize("library", ERRORS)
def test_a_wrong_password_is_the_librarys_own_error(service, library):
    """RFC 6749 §5.2. [TE-04]"""
    with service.client(library) as client:
        with pytest.raises(Refused) as refused:
            client.log_in(USERNAME, "tuesday %&+=£€;fern 🔒")
        assert refused.value.code == "invalid_grant"
        assert refused.value.kind == ERRORS[library][0]
        assert scope(client.log_in(USERNAME, PASSWORD)) == {READ}


@on_one_engine
@pytest.mark.parametrize("library", ERRORS)
def test_a_wrong_client_secret_is_the_librarys_own_error(service, library):
    """RFC 6749 §5.2. [TE-03]"""
    with LIBRARIES[library](service.mistaken_identity()) as client:
        refused = refusal(client)
        assert (refused.code, refused.kind) == ("invalid_client", ERRORS[library][1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_library_takes_too_many_requests_for_a_mistake_of_its_own(suspicious_service, library):
    """RFC 6585 §4. A client throws its tokens away when it reads `invalid_grant`."""
    with LIBRARIES[library](suspicious_service.mistaken_identity()) as client:
        # When a wait is over the next secret is looked at, and the wait after that is twice as long.
        read = (refusal(client).code for _ in range(5))
        assert "temporarily_unavailable" in read


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("library", INTROSPECT)
def test_a_resource_server_sees_the_log_out_of_a_client_at_once(service, library, method):
    """RFC 7662 §2, RFC 7009 §2. [I-13] [I-15] [R-04]"""
    server = LIBRARIES[library](service.identity(INTROSPECTING, method))
    with service.client(library) as client, server:
        token = log_in(client)["access_token"]
        answer = server.introspect(token)
        assert answer["active"] is True
        assert answer["username"] == USERNAME
        assert answer["client_id"] == CONFIDENTIAL
        client.revoke(token, "access_token")
        assert server.introspect(token)["active"] is False
        assert server.introspect("junk")["active"] is False


def installed_versions():
    interop = ROOT / "tests" / "interop"
    lines = (interop / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lock = tomllib.loads((interop / "rust" / "Cargo.lock").read_text(encoding="utf-8"))
    package = json.loads((interop / "node" / "package.json").read_text(encoding="utf-8"))
    return {
        **dict(line.split("==") for line in lines if "==" in line),
        **{crate["name"]: crate["version"] for crate in lock["package"]},
        **package["dependencies"],
        "curl": "the system's",
    }


def test_the_table_of_clients_is_what_was_seen():
    page = (ROOT / "docs" / "interoperability.md").read_text(encoding="utf-8")
    # The first table of the page.
    [table, *_] = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    rows = [line.strip("| ").replace("`", "") for line in table.splitlines()]
    rows = [re.split(r" *\| *", row) for row in rows[2:]]
    versions = installed_versions()
    assert rows == [
        [name, versions[name.split()[0]], "yes" if name in INTROSPECT else "no", *errors]
        for name, errors in ERRORS.items()
    ]


@on_one_engine
def test_openid_client_finds_the_same_in_either_document(service):
    """RFC 8414 §5: its default is the name that OpenID Connect gave the document. [M-01] [M-25]"""
    identity = service.identity(CONFIDENTIAL)
    found = []
    for algorithm in ("oidc", "oauth2"):
        with node("openid-client", algorithm=algorithm)(identity) as client:
            found.append(client.ask("metadata"))
            assert scope(log_in(client)) == {READ, WRITE}
    assert found[0] == found[1]
    assert found[0]["issuer"] == service.issuer


@on_one_engine
@pytest.mark.parametrize("method", ["client_secret_post", "none"])
def test_authlib_with_httpx_needs_basic_for_passwords_beyond_ascii(service, method):
    """It fails before anything is sent. With requests it does not."""
    with service.client("Authlib with httpx", method) as client:
        with pytest.raises(UnicodeEncodeError):
            client.log_in(USERNAME, PASSWORD)


def test_simple_oauth2_revokes_both_tokens(service):
    """RFC 7009 §2.2: the second is revoked already."""
    with service.client("simple-oauth2") as client, service.client("curl") as other:
        token = log_in(client)
        client.ask("revoke_all", token=token)
        with pytest.raises(Refused, match="invalid_grant"):
            other.refresh(token["refresh_token"])


@on_one_engine
def test_oauth4webapi_verifies_a_token_by_the_profile_of_rfc_9068(service):
    """RFC 9068 §4, RFC 8414 §3.3. [M-04] [M-08]"""
    with service.client("oauth4webapi") as client:
        token = log_in(client)["access_token"]
        claims = client.ask("verify", token=token, audience=AUDIENCE)
        assert (claims["iss"], claims["client_id"]) == (service.issuer, CONFIDENTIAL)
        with pytest.raises(Refused, match="OperationProcessingError"):
            client.ask("verify", token=token, audience="https://other.example")


@on_one_engine
def test_the_crate_oauth2_revokes_over_tls_only(service):
    identity = service.identity(CONFIDENTIAL)
    identity.issuer = "http://localhost"
    with rust(identity) as client:
        with pytest.raises(Refused, match="must be HTTPS"):
            client.revoke("junk", "access_token")


def test_requests_oauthlib_warns_when_less_is_granted_than_it_asked_for(service, monkeypatch):
    """RFC 6749 §3.3. A user who lost a right: the library has to be told that this may be."""
    name = "maryann"
    add_user(name, service.database)
    with service.client("requests-oauthlib") as client:
        token = client.log_in(name, PASSWORD, scope=BOTH)
        command("user", "set", name, "--scope", READ, *service.database)
        with pytest.raises(Warning, match="Scope has changed"):
            client.refresh(token["refresh_token"], scope=BOTH)
        monkeypatch.setenv("OAUTHLIB_RELAX_TOKEN_SCOPE", "1")
        assert scope(client.refresh(token["refresh_token"], scope=BOTH)) == {READ}
