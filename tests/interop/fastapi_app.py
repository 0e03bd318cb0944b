"""Applications of examples/fastapi, each run by uvicorn in a process of its own."""

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys

from conftest import ROOT, command, serving, stop

FOLDER = ROOT / "examples" / "fastapi"
SWAGGER_UI = ROOT / "target" / "interop-node" / "node_modules" / "swagger-ui-dist"
AUDIENCE = "https://items.example"
# As the FastAPI tutorial has it, with bcrypt.
PASSWORD = "secret"
HASH = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"


def blocks(text, language):
    """The blocks of code in the text of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text, beginning):
    """The arguments of commands that stand in the text of a document: of those that begin so."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", "").splitlines()
    found = [line for line in lines if line.startswith(beginning)]
    return [shlex.split(line, comments=True)[1:] for line in found]


def listener():
    """A socket on a free port of this machine, and the origin of what will listen on it."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def running(module, listening, log, **settings):
    """Runs an application until the end of the block. Whoever connects early waits for it."""
    with open(log, "a", encoding="utf-8") as kept:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", f"{module}:app", "--fd", str(listening.fileno())],
            cwd=FOLDER,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **settings},
            pass_fds=[listening.fileno()],
            stdout=kept,
            stderr=kept,
        )
        # Once the process alone has the socket, callers notice when it is gone.
        listening.close()
        try:
            yield
        finally:
            stop(process)


@contextlib.contextmanager
def site(folder, *options):
    """Runs Jeton with the tutorial's user, and `main.py`; gives the database of Jeton and both origins."""
    database = ["--database", f"sqlite:{folder / 'jeton.db'}"]
    database += ["--master-key-file", folder / "master.jwk"]
    users = f"username,password_hash\njohndoe,{HASH}\n"
    command("user", "import", "-", *database[:2], stdin=users)
    [added] = commands((FOLDER / "README.md").read_text("utf-8"), "jeton client add")
    command(*added, *database[:2])
    listening, origin = listener()
    with serving(folder / "jeton.log", *database, "--cors-origin", origin, *options) as entry:
        settings = {"ISSUER": entry["issuer"], "AUDIENCE": AUDIENCE, "CLIENT_ID": "docs"}
        settings["SWAGGER_UI"] = str(SWAGGER_UI)
        with running("main", listening, folder / "app.log", **settings):
            yield database, origin, entry["issuer"]
