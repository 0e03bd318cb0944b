"""Runs the blocks of docs/verify*.md: programs by their own commands, and nginx with a backend behind it."""

import base64
import contextlib
import functools
import http.server
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
from typing import NamedTuple

import requests

from conftest import ROOT, stop
from verification import JAVA_PACKAGES, PACKAGES
from verification import blocks, free_port, new_key, public_pem, wait_until

NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
events {}
http {
    access_log off;
    # The system's folders are not for everybody.
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include conf.d/api.conf;
}
"""

APACHE = """
ServerName localhost
PidFile apache.pid
ErrorLog error.log
Listen 127.0.0.1:${PORT}
OIDCCABundlePath ${SSL_CERT_FILE}
Include api.conf
"""
APACHE_MODULES = ["mpm_event", "authn_core", "authz_core", "authz_user", "headers"]
APACHE_MODULES += ["proxy", "proxy_http", "rewrite", "auth_openidc"]


class Answer(NamedTuple):
    """What a verifier says that speaks no HTTP."""

    status_code: int
    headers: dict
    text: str

    def json(self):
        return {"sub": self.text}


class HttpApi:
    """A resource server out of the document."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/notes"

    def ask(self, authorization=None):
        headers = {"Authorization": authorization} if authorization else {}
        return requests.get(self.url, headers={"X-Subject": "forged", **headers}, timeout=30)


class LineApi:
    """A verifier that reads an `Authorization` a line, and writes a status and a challenge or the user."""

    def __init__(self, process):
        self.process = process

    def ask(self, authorization=None):
        print(authorization or "", file=self.process.stdin, flush=True)
        status, _, rest = self.process.stdout.readline().strip().partition(" ")
        if status == "200":
            return Answer(200, {}, rest)
        return Answer(int(status), {"WWW-Authenticate": rest}, "")


class Backend(http.server.BaseHTTPRequestHandler):
    """What stands behind a proxy, and answers with the user that the proxy named."""

    def do_GET(self):
        content = json.dumps({"sub": self.headers["X-Subject"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def backend():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextlib.contextmanager
def listening(command, folder, environment, port):
    """Runs a server until the end of the block."""
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is not None or is_listening(port), command)
        assert process.poll() is None, (folder / "log").read_text()
        yield HttpApi(port)
    finally:
        stop(process)


@contextlib.contextmanager
def program(block, folder, environment):
    (folder / block.file).write_text(block.text, encoding="utf-8")
    (folder / "node_modules").symlink_to(PACKAGES / "node_modules")
    port = free_port()
    environment = {**environment, "PORT": str(port)}
    with listening(["sh", "-c", f"exec {block.command}"], folder, environment, port) as api:
        yield api


@contextlib.contextmanager
def lines(block, _, environment):
    """A program of the package that holds the Rust of these tests, the block among it."""
    package = ROOT / "tests" / "interop" / "rust"
    assert (package / "src" / "bin" / block.file).read_text(encoding="utf-8") == block.text
    target = {"CARGO_TARGET_DIR": str(ROOT / "target" / "interop-rust")}
    process = subprocess.Popen(
        ["sh", "-c", f"exec {block.command}"],
        cwd=package,
        env={**os.environ, **environment, **target},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield LineApi(process)
    finally:
        stop(process)


@contextlib.contextmanager
def nginx(block, folder, environment, with_cache=True):
    """nginx with the two files of the document, in which the names that it lists are replaced."""
    port = free_port()
    basic = base64.b64encode(f"api:{environment['API_SECRET']}".encode()).decode()
    (folder / "conf.d").mkdir()
    as_root = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(as_root + NGINX, encoding="utf-8")
    (folder / "conf.d" / "introspection.js").write_text(blocks()["introspection.js"].text)
    with backend() as behind:
        text = block.text
        if not with_cache:
            text = "".join(line for line in text.splitlines(True) if "cache" not in line)
        for name, value in {
            "${ISSUER}": environment["ISSUER"],
            "${API_BASIC}": basic,
            "${PORT}": str(port),
            "${BACKEND}": behind,
            "/etc/ssl/certs/ca-certificates.crt": environment["AUTHORITY"],
            "/var/cache/nginx/introspection": str(folder / "cache"),
        }.items():
            text = text.replace(name, value)
        (folder / "conf.d" / "api.conf").write_text(text, encoding="utf-8")
        command = ["nginx", "-p", folder, "-c", folder / "nginx.conf"]
        with listening(command, folder, environment, port) as api:
            yield api


@contextlib.contextmanager
def haproxy(block, folder, environment):
    """HAProxy, which is given keys as files: here a key of nobody first, and then the service's."""
    (folder / "jeton.pem").write_bytes(public_pem(new_key()))
    (folder / "next.pem").write_text(environment["PUBLISHED"], encoding="utf-8")
    with backend() as behind:
        environment = {**environment, "BACKEND": behind.removeprefix("http://")}
        with program(block, folder, environment) as api:
            yield api


@contextlib.contextmanager
def apache(block, folder, environment):
    """Apache with the modules that the document names."""
    folder_of_modules = "/usr/lib/apache2/modules"
    load = [f"LoadModule {name}_module {folder_of_modules}/mod_{name}.so" for name in APACHE_MODULES]
    (folder / "apache.conf").write_text("\n".join(load) + APACHE, encoding="utf-8")
    (folder / "api.conf").write_text(block.text, encoding="utf-8")
    port = free_port()
    with backend() as behind:
        environment = {**environment, "BACKEND": behind, "PORT": str(port)}
        command = ["apache2", "-d", folder, "-f", folder / "apache.conf", "-DFOREGROUND"]
        with listening(command, folder, environment, port) as api:
            yield api


@functools.cache
def compiled(*files):
    """Compiles blocks in Java, and returns the path on which their classes are found."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=JAVA_PACKAGES))
    for file in files:
        (folder / file).write_text(blocks()[file].text, encoding="utf-8")
    libraries = (JAVA_PACKAGES / "classpath").read_text(encoding="utf-8").strip()
    command = ["javac", "-d", folder, "-cp", libraries, *(folder / file for file in files)]
    subprocess.run(command, check=True)
    return f"{folder}:{libraries}"


@contextlib.contextmanager
def running_java(folder, environment, path, *command):
    """Runs a class that listens. Java does not read the authorities of other programs."""
    trusted, port = folder / "trusted.p12", free_port()
    take = ["keytool", "-importcert", "-noprompt", "-file", environment["AUTHORITY"]]
    take += ["-keystore", trusted, "-storetype", "PKCS12", "-storepass", "password"]
    subprocess.run(take, check=True, capture_output=True)
    # It starts sooner so.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    options += [f"-Djavax.net.ssl.trustStore={trusted}", "-Djavax.net.ssl.trustStorePassword=password"]
    environment = {**environment, "PORT": str(port)}
    command = ["java", *options, "-cp", path, *command]
    with listening(command, folder, environment, port) as api:
        yield api


@contextlib.contextmanager
def spring(properties, folder, environment, further=()):
    """The application of the document with these properties, and further classes."""
    (folder / properties.file).write_text(properties.text, encoding="utf-8")
    named = f"--spring.config.location=file:{properties.file}"
    path = compiled("SpringApi.java", *further)
    with running_java(folder, environment, path, "api.SpringApi", named) as api:
        yield api


@contextlib.contextmanager
def java(block, folder, environment):
    """A class that runs by itself, or makes the application of Spring verify by it."""
    if block.file == "AtJwt.java":
        runs = spring(blocks()["verifying.properties"], folder, environment, [block.file])
    else:
        path = compiled(block.file)
        runs = running_java(folder, environment, path, block.file.removesuffix(".java"))
    with runs as api:
        yield api


RUNNERS = {"conf": apache, "cfg": haproxy, "rs": lines, "template": nginx}
RUNNERS |= {"java": java, "properties": spring}


def running(file, folder, environment, **options):
    """Runs a block with what it finds in the environment."""
    runner = RUNNERS.get(file.rpartition(".")[2], program)
    return runner(blocks()[file], folder, environment, **options)
