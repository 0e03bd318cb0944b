"""Applications of examples/fastapi, each run by uvicorn in a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys

from conftest import ROOT

FOLDER = ROOT / "examples" / "fastapi"


def listener():
    """A socket on a free port of this machine, and the origin of what will listen on it."""
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def running(module, listening, log, **settings):
    """Runs an application until the end of the block. Whoever connects early waits until it accepts."""
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
            process.terminate()
            process.wait(timeout=30)
