"""Prometheus of Debian with the rules that Jeton ships, and the services that it watches."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import requests
import yaml

from conftest import JETON, ROOT, jeton, stop
from verification import free_port, wait_until

RULES = ROOT / "packaging" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "packaging" / "grafana" / "jeton.json"
PASSWORD = "tuesday fern lamp"
AUDIENCE = "https://api.example"
# The cheapest that is allowed.
SCRYPT = ["--scrypt", "ln=15,r=8,p=3"]


def rules():
    """The alerts of the file by their names, in its order."""
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


class Replica:
    """`jeton serve` as a process, with a database that has a user and two clients, unless it is to be empty."""

    # The file of SQLite that the first one made, for the others to begin with, and the secrets of its clients.
    template = None

    def __init__(self, folder, database=None, empty=False, scrypt=None):
        folder.mkdir()
        self.folder = folder
        self.name = folder.name
        self.file = folder / "jeton.db"
        self.database = ["--database", database or f"sqlite:{self.file}"]
        self.master = ["--master-key-file", folder / "master.jwk"]
        self.process = None
        self.secrets = {}
        self.scrypt = scrypt or SCRYPT
        if empty:
            return
        is_usual = database is None and scrypt is None
        if is_usual and Replica.template:
            shutil.copy(Replica.template[0], self.file)
            self.secrets = Replica.template[1]
            return
        self.fill()
        if is_usual:
            Replica.template = (shutil.copy(self.file, folder / "template.db"), self.secrets)

    def fill(self):
        self.add("user", "alice", "--password-stdin", *self.scrypt, stdin=PASSWORD + "\n")
        gets = ["--grant", "password", "--grant", "refresh_token", "--audience", AUDIENCE]
        self.add("client", "web", *gets, "--scope", "read", "--default-scope", "read")
        self.add("client", "api", "--introspects", AUDIENCE)

    def add(self, what, name, *options, stdin=""):
        added = jeton(what, "add", name, *options, *self.database, stdin=stdin)
        self.secrets[name] = added.get("client_secret")

    def start(self, *options, by=(), log=None):
        """Starts it on free ports and waits until it serves; `log` takes its standard error instead of a file."""
        self.public, self.management = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.url = f"http://{self.public}"
        addresses = ["--listen", self.public, "--management-listen", self.management]
        settings = [*addresses, "--log-format", "json", "--issuer", "http://localhost"]
        settings += self.scrypt
        arguments = [*by, JETON, "serve", *self.database, *self.master, *settings, *options]
        with open(self.folder / "log", "ab") as file:
            self.process = subprocess.Popen(arguments, stderr=log or file)
        wait_until(self.lives, f"{self.name} serves: see {self.folder}/log")
        return self

    def lives(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://{self.management}/livez").ok
        return False

    def end(self):
        if self.process is not None and self.process.poll() is None:
            stop(self.process)

    def post(self, path, client, session=requests, **form):
        credentials = (client, self.secrets[client])
        return session.post(self.url + path, data=form, auth=credentials, timeout=60)

    def login(self, username="alice", password=PASSWORD, session=requests):
        form = {"grant_type": "password", "username": username, "password": password}
        return self.post("/token", "web", session, **form)

    def refresh(self, token):
        return self.post("/token", "web", grant_type="refresh_token", refresh_token=token)

    def metrics(self, accept="*/*"):
        answer = requests.get(f"http://{self.management}/metrics", headers={"Accept": accept})
        assert answer.status_code == 200
        return answer


@contextlib.contextmanager
def prometheus(folder, replicas):
    """Prometheus that scrapes the replicas every second; the URL of its API. The instance is the replica's name."""
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    targets = [
        {"targets": [replica.management], "labels": {"instance": replica.name}}
        for replica in replicas
    ]
    often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    scrape = [{"job_name": "jeton", "static_configs": targets}]
    settings = {"global": often, "rule_files": [str(RULES)], "scrape_configs": scrape}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml"]
            + [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"],
            stdout=log,
            stderr=log,
        )

    def is_ready():
        assert process.poll() is None, (folder / "log").read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://{address}/-/ready").ok
        return False

    try:
        wait_until(is_ready, "Prometheus starts")
        yield f"http://{address}/api/v1"
    finally:
        stop(process)


def asked(api, path, **parameters):
    """The data of an answer of Prometheus."""
    answer = requests.get(f"{api}/{path}", params=parameters).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def faketime(offset):
    """The command that starts a program with its wall clock off."""
    [library] = pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return ["env", f"LD_PRELOAD={library}", f"FAKETIME={offset}", "FAKETIME_DONT_FAKE_MONOTONIC=1"]


def panels():
    """The panels of the dashboard that ask for something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel.get("targets")]


def is_long():
    return "JETON_LONG" in os.environ
