"""What the tests of docs/verify*.md need: their blocks, a service with a certificate, and tokens that a
resource server must refuse, most of them signed by the very key of the service."""

import base64
import contextlib
import hmac
import os
import re
import socket
import subprocess
import time
from typing import NamedTuple

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from certificates import Certificate
from conftest import PASSWORD, ROOT, USERNAME
from conftest import command, jeton, new_database, serving

DOCUMENTS = ["verify.md", "verify-libraries.md", "verify-java.md", "verify-servers.md"]
PACKAGES = ROOT / "target" / "interop-node"
JAVA_PACKAGES = ROOT / "target" / "interop-maven"
AUDIENCE = "https://api.example.com"
# The longest wait for something to happen that must happen, on a machine that is busy.
PATIENCE = 60


class Block(NamedTuple):
    """A block of a document: the file that its first line names, and the command that runs it."""

    language: str
    file: str
    command: str
    text: str


def blocks():
    """The blocks of the documents by file, or by language if they name none: what a shell is told."""
    found = {}
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    fenced = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    listed = fenced.findall("".join(pages))
    assert "".join(pages).count("```") == 2 * len(listed), "a block is not seen"
    for language, text in listed:
        first = re.match(r"(?:#|//!?) ([\w.]+)(?:, run by: (.+))?\n", text)
        file, run_by = first.groups() if first else (language, None)
        assert file not in found, f"{file} stands there twice"
        found[file] = Block(language, file, run_by, text)
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(is_so, what):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key):
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, public)


class Deployment:
    """A service that was set up as the document says, the key it signs with, and tokens of it."""

    def __init__(self, issuer, management, secrets, key, authority, exported):
        self.issuer = issuer
        self.management = management
        self.exported = exported
        self.secrets = secrets
        self.key = key
        self.authority = authority
        self.good = self.token()
        self.subject = jwt.decode(self.good, options={"verify_signature": False})["sub"]
        self.other_audience = self.token(client_id="other")
        self.other_scope = self.token(scope="write")

    def post(self, path, client_id, **form):
        answer = requests.post(
            self.issuer + path,
            data=form,
            auth=(client_id, self.secrets[client_id]),
            verify=str(self.authority),
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, client_id="web", scope="read"):
        form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
        return self.post("/token", client_id, scope=scope, **form)["access_token"]

    def revoke(self, token):
        self.post("/revoke", "web", token=token)

    def requests(self, route):
        """How many requests the service had at an endpoint."""
        text = requests.get(f"http://{self.management}/metrics").text
        counts = re.findall(rf'jeton_http_requests_total{{route="{route}",.*}} (\d+)', text)
        return sum(map(int, counts))

    def environment(self, authority=None):
        """What a block of the document reads, and where programs look for a private authority."""
        authority = str(authority or self.authority)
        packages = [ROOT / "target" / "interop" / "bin", ROOT / "target" / "debug"]
        return {
            "PATH": ":".join([*map(str, packages), os.environ["PATH"], "/usr/sbin"]),
            "ISSUER": self.issuer,
            "AUDIENCE": AUDIENCE,
            "API_SECRET": self.secrets["api"],
            "NODE_EXTRA_CA_CERTS": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
            "AUTHORITY": authority,
            "PUBLISHED": self.exported,
            # jose looks for the global, which Node 18 does not have.
            "NODE_OPTIONS": "--experimental-global-webcrypto",
        }

    def signed(self, key=None, header=(), without=(), **claims):
        """The good token once more, with a few things changed, signed by the service's key or another."""
        said = jwt.decode(self.good, options={"verify_signature": False})
        header = {**jwt.get_unverified_header(self.good), **dict(header)}
        said = {**said, **claims}
        for name in without:
            said.pop(name, None)
        return jwt.encode(said, key or self.key, header.pop("alg"), header)


@contextlib.contextmanager
def deployed(engine, folder, scheme):
    """Sets a service up by the commands of the document, with a key that is known here, and runs it."""
    database = new_database(engine, folder)
    environment = {
        "PATH": f"{ROOT / 'target' / 'debug'}:{os.environ['PATH']}",
        "JETON_DATABASE": database,
    }
    named = ["--database", database]
    jeton("user", "add", USERNAME, "--password-stdin", *named, stdin=PASSWORD + "\n")
    setup = subprocess.run(
        ["sh", "-euc", blocks()["sh"].text], env=environment, capture_output=True, text=True
    )
    assert setup.returncode == 0, setup.stderr
    web, api = re.findall(r"never again: (\S+)", setup.stdout)
    other = ["--grant", "password", "--scope", "read", "--audience", "https://other.example.com"]
    other = jeton("client", "add", "other", *other, *named)["client_secret"]

    key = new_key()
    (folder / "signs.pem").write_bytes(pem(key))
    keys = [*named, "--master-key-file", folder / "master.jwk"]
    command("key", "import", "--yes", folder / "signs.pem", *keys)

    certificate, port = Certificate(folder), free_port()
    issuer = f"{scheme}://localhost:{port}"
    options = ["--issuer", issuer, "--access-token-lifetime", "1h"]
    if scheme == "https":
        options += ["--tls-certificate", certificate.chain, "--tls-key", certificate.key]
    secrets = {"web": web, "api": api, "other": other}
    with serving(folder / "log", *keys, *options, listen=f"127.0.0.1:{port}") as entry:
        exported = command("key", "export", "--public", "--pem", *keys)
        authority = certificate.authority
        yield Deployment(issuer, entry["management"], secrets, key, authority, exported)


def encoded(text):
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header, good, signature=b"signature"):
    """A token with a header that no library writes."""
    return f"{encoded(header)}.{good.split('.')[1]}.{encoded(signature)}"


def with_public_key_as_secret(deployment):
    """An attacker's token: the public key, which everyone has, is taken for a shared secret."""
    kid = jwt.get_unverified_header(deployment.good)["kid"]
    header = encoded(f'{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}'.encode())
    signed = f"{header}.{deployment.good.split('.')[1]}"
    mac = hmac.digest(public_pem(deployment.key), signed.encode(), "sha256")
    return f"{signed}.{encoded(mac)}"


HOUR = 3600

# What every resource server refuses as invalid_token, by what is wrong with it.
INVALID = {
    "the signature of another key": lambda d: d.signed(key=new_key()),
    "the name of another key": lambda d: d.signed(key=new_key(), header={"kid": "unknown"}),
    "no name of a key": lambda d: d.signed(key=new_key(), header={"kid": ""}),
    "the past": lambda d: d.signed(exp=int(time.time()) - HOUR, iat=int(time.time()) - 2 * HOUR),
    "another issuer": lambda d: d.signed(iss="https://evil.example.com"),
    "another audience": lambda d: d.other_audience,
    "another type": lambda d: d.signed(header={"typ": "JWT"}),
    "no type": lambda d: d.signed(header={"typ": None}),
    "the public key as secret": with_public_key_as_secret,
    "another algorithm": lambda d: d.signed(header={"alg": "RS512"}),
    "no signature": lambda d: by_hand(b'{"alg":"none","typ":"at+jwt"}', d.good, b""),
    "a key of its own": lambda d: d.signed(key=(key := new_key()), header={"jwk": public_jwk(key)}),
    "a changed claim": lambda d: changed(d.good),
    "a signature that is not base64url": lambda d: d.good.rsplit(".", 1)[0] + ".!!!",
    "a header that is no object": lambda d: by_hand(b"[]", d.good),
    "a header with a number for a name": lambda d: by_hand(b'{"alg":"RS256","kid":1}', d.good),
    "an algorithm that is no text": lambda d: by_hand(b'{"alg":"\\u0000"}', d.good),
    "a critical extension that is a number": lambda d: by_hand(b'{"alg":"RS256","crit":1}', d.good),
    "padding in its midst": lambda d: d.good[: d.good.index(".") + 102] + "=" + d.good[-400:],
    "octets that are not ASCII": lambda d: d.good.replace(".", ".\xe9", 1),
    "one part": lambda _: "junk",
    "three parts": lambda _: "a.b.c",
    "parts of nothing": lambda _: "..",
}


def public_jwk(key):
    return jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)


def changed(token):
    header, payload, signature = token.split(".")
    padded = payload + "=" * (-len(payload) % 4)
    more = base64.urlsafe_b64decode(padded).replace(b'"read"', b'"read write"')
    assert encoded(more) != payload
    return f"{header}.{encoded(more)}.{signature}"
