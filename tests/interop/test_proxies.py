"""The proxies of docs/proxies.md, as they stand there, between `jeton doctor` and a service."""

import contextlib
import json
import os
import re
import subprocess

import pytest

from certificates import Certificate
from conftest import GETS_TOKENS, JETON, PASSWORD, ROOT, USERNAME
from conftest import jeton, new_database, serving, stop
from verification import free_port, wait_until
from verifiers import NGINX as WITH_API, is_listening

PAGE = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
# A caller that is not the proxy, on the same machine, and the address that it claims to have.
CALLER, CLAIMED = "127.0.0.9", "203.0.113.9"

NGINX = WITH_API.replace("conf.d/api.conf", "jeton.conf")


def configuration(language, **places):
    """The block in a language, for these places instead of those of the page."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for place, actual in places.items():
        name = {"port": r"\b443\b", "jeton": r"127\.0\.0\.1:8080", "management": r"port 8081\b"}
        name |= {"chain": r"/etc/ssl/auth\.example\.com\.pem", "host": r"(?m)^auth\.example\.com"}
        name |= {"key": r"/etc/ssl/auth\.example\.com\.key"}
        name |= {"both": r"/etc/ssl/auth\.example\.com\.both\.pem"}
        block, count = re.subn(name[place], str(actual), block)
        assert count, f"{place} is not in the block of {language}"
    return block


def nginx(folder, port, certificate, entry):
    block = configuration(
        "nginx",
        port=f"127.0.0.1:{port}",
        jeton=entry["public"],
        chain=certificate.chain,
        key=certificate.key,
    )
    (folder / "jeton.conf").write_text(block)
    (folder / "nginx.conf").write_text(NGINX)
    return ["/usr/sbin/nginx", "-p", folder, "-c", "nginx.conf", "-e", "stderr"]


def haproxy(folder, port, certificate, entry):
    both = folder / "both.pem"
    both.write_bytes(certificate.chain.read_bytes() + certificate.key.read_bytes())
    management = entry["management"].rsplit(":", 1)[1]
    block = configuration(
        "haproxy", port=port, jeton=entry["public"], management=f"port {management}", both=both
    )
    (folder / "haproxy.cfg").write_text(block)
    return ["/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"]


def caddy(folder, port, certificate, entry):
    block = configuration(
        "caddy",
        host=f"https://localhost:{port}",
        jeton=entry["public"],
        chain=certificate.chain,
        key=certificate.key,
    )
    # Its management interface and its redirection of port 80 are not of this machine's business.
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + block)
    return ["caddy", "run", "--config", "Caddyfile"]


@contextlib.contextmanager
def running(command, folder, port):
    own = {name: str(folder) for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]}
    with open(folder / "proxy.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is not None or is_listening(port), command)
        assert process.poll() is None, (folder / "proxy.log").read_text()
        yield
    finally:
        stop(process)


@pytest.mark.parametrize("proxy", [nginx, haproxy, caddy])
def test_a_service_behind_a_proxy_is_well(proxy, tmp_path):
    """`jeton doctor` finds nothing wrong, and nobody chooses the address that the service believes."""
    certificate, port = Certificate(tmp_path), free_port()
    issuer = f"https://localhost:{port}"
    database = ["--database", new_database("sqlite", tmp_path)]
    jeton("user", "add", USERNAME, "--password-stdin", *database, stdin=PASSWORD + "\n")
    secret = jeton("client", "add", "web", *GETS_TOKENS, *database)["client_secret"]
    jeton("client", "add", "app", "--public", *GETS_TOKENS, *database)
    options = [*database, "--master-key-file", tmp_path / "master.jwk", "--issuer", issuer]
    trusted = ["--trusted-proxy", "127.0.0.1/32"]
    log = tmp_path / "log"
    with serving(log, *map(str, options), *trusted) as entry:
        command = proxy(tmp_path, port, certificate, entry)
        with running(command, tmp_path, port):
            visit = ["doctor", issuer, "--client", "web", "--user", USERNAME, "--json"]
            done = subprocess.run(
                [JETON, *visit, "--password-stdin", "--wrong-password"],
                input=PASSWORD + "\n",
                env={
                    **os.environ,
                    "SSL_CERT_FILE": str(certificate.authority),
                    "JETON_DOCTOR_CLIENT_SECRET": secret,
                },
                capture_output=True,
                text=True,
            )
            found = json.loads(done.stdout)
            bad = [look for look in found if look["outcome"] in ("wrong", "warning")]
            # The certificate of this test lasts a day.
            bad = [look for look in bad if look["check"] != "connection.certificate"]
            assert not bad and len(found) > 30, bad or done.stderr
            form = f"grant_type=password&username={USERNAME}&password=wrong&client_id=app"
            curl = ["curl", "-s", "--cacert", certificate.authority, "--interface", CALLER]
            curl += ["-H", f"X-Forwarded-For: {CLAIMED}", "-d", form, f"{issuer}/token"]
            answer = json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)
            assert answer["error"] == "invalid_grant"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    [refused] = [event for event in events if event.get("client_id") == "app"]
    assert refused["source"] == CALLER
