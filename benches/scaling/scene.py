"""Replicas, an account and two clients: what the other scripts of this folder have in common."""

import base64
import http.client
import json
import subprocess
import sys
import tempfile
import urllib.parse

PROGRAM, DATABASE = sys.argv[1], sys.argv[2]
PASSWORD = "tuesday fern lamp"
FOLDER = tempfile.mkdtemp(prefix="jeton-scaling-")
COMMON = ["--database", DATABASE]
KEYS = ["--master-key-file", f"{FOLDER}/master.jwk"]


def run(*arguments, text=""):
    done = subprocess.run([PROGRAM, *arguments, *COMMON], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


class Replica:
    def __init__(self, issuer):
        free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0", "--log-format", "json"]
        named = ["--issuer", issuer] if issuer else []
        limits = ["--scrypt", "ln=15,r=8,p=3"]
        self.process = subprocess.Popen(
            [PROGRAM, "serve", *free, *named, *limits, *COMMON, *KEYS], stderr=subprocess.PIPE, text=True
        )
        for line in self.process.stderr:
            entry = json.loads(line)
            if entry.get("message") == "serving":
                self.address, self.issuer = entry["public"], entry["issuer"]
                self.management = entry["management"]
                break

    def manage(self, path):
        connection = http.client.HTTPConnection(self.management, timeout=30)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def ask(self, path, form=None, client=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {}
        if client:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(client).encode()).decode()
        body = None
        if form:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST" if form else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or "null")


class Scene:
    def __init__(self):
        self.clients = {}
        run("user", "add", "alice", "--password-stdin", text=PASSWORD + "\n")
        usual = ["--grant", "password", "--grant", "refresh_token", "--scope", "read", "--scope", "write"]
        added = run("client", "add", "web", *usual, "--default-scope", "read", "--audience", "https://a.example", "--json")
        self.clients["web"] = ("web", json.loads(added)["client_secret"])
        added = run("client", "add", "api", "--introspects", "https://a.example", "--json")
        self.clients["api"] = ("api", json.loads(added)["client_secret"])

    def login(self, replica, scope=None, password=PASSWORD):
        form = {"grant_type": "password", "username": "alice", "password": password}
        if scope:
            form["scope"] = scope
        return replica.ask("/token", form, self.clients["web"])

    def is_active(self, replica, token):
        return replica.ask("/introspect", {"token": token}, self.clients["api"])[1].get("active")
