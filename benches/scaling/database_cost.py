#!/usr/bin/env python3
"""What a request costs the database: its statements, commits and processor time.

database_cost.py PROGRAM DATABASE-URL FOLDER: PROGRAM is a jeton, the database of PostgreSQL is empty, FOLDER is that of the
server (`tests/postgres start FOLDER`), which nobody else may use. One caller asks, one request at a time, so nothing is
shared: with many callers at once refreshes and introspections cost less.
"""

import glob
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

from scene import DATABASE, Replica, Scene

FOLDER = sys.argv[3]
REQUESTS = 200


def processor_time():
    """Of all processes of the server so far, in seconds, those that have ended included."""
    postmaster = Path(FOLDER, "data", "postmaster.pid").read_text().split()[0]
    ticks = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = Path(path).read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        own = path.split("/")[2] == postmaster
        if own or fields[1] == postmaster:
            # Of itself; and of children that have ended, which the first process has.
            ticks += sum(int(field) for field in fields[11 : 15 if own else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


def commits():
    name = urllib.parse.urlparse(DATABASE).path[1:]
    # What a session did is counted a second later.
    subprocess.run(["sleep", "1.5"], check=True)
    query = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'"
    said = subprocess.run(["psql", DATABASE, "-Atc", query], capture_output=True, text=True, check=True)
    return int(said.stdout)


def statements(replica):
    text = replica.manage("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("jeton_database_statements_total")]
    return float(lines[0].split()[-1])


def main():
    scene, replica = Scene(), None
    replica = Replica(None)
    state = {}

    def refresh():
        form = {"grant_type": "refresh_token", "refresh_token": state["tokens"]["refresh_token"]}
        state["tokens"] = replica.ask("/token", form, scene.clients["web"])[1]

    acts = {
        "a login": lambda: scene.login(replica),
        "a refresh": refresh,
        "an introspection": lambda: scene.is_active(replica, state["tokens"]["access_token"]),
        "a second without requests": None,
    }
    print("| what | statements | transactions | processor time of the server |\n|---|---|---|---|")
    for name, act in acts.items():
        # Logins before may have ended the last session.
        state["tokens"] = scene.login(replica)[1]
        before = (statements(replica), commits(), processor_time())
        if act is None:
            subprocess.run(["sleep", "10"], check=True)
        for _ in range(REQUESTS if act else 0):
            act()
        after = (statements(replica), commits(), processor_time())
        count = REQUESTS if act else 10
        per = [(later - earlier) / count for earlier, later in zip(before, after, strict=True)]
        print(f"| {name} | {per[0]:.1f} | {per[1]:.1f} | {per[2] * 1e3:.2f} ms |")
    replica.process.terminate()
    replica.process.wait()


if __name__ == "__main__":
    main()
