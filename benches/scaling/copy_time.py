#!/usr/bin/env python3
"""How long `jeton db copy` takes, beside what the engines take for the same rows of the largest table.

copy_time.py PROGRAM SERVER-URL [SESSIONS]: PROGRAM is a jeton; the server of PostgreSQL is one whose databases nobody else
uses. Makes a SQLite file with a million sessions, or as many as are named, copies it to a database of the server, from
there to a second one, and from there to another file. Beside each: COPY from one database into a table with the same
indexes in the other, or INSERT … SELECT from a file into such a table in another.
"""

import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

PROGRAM, SERVER = sys.argv[1], sys.argv[2]
SESSIONS = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
BEFORE = SERVER.rsplit("/", 1)[0]
USUAL = ["--grant", "password", "--grant", "refresh_token", "--scope", "read", "--default-scope", "read"]


def run(*arguments, text=""):
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


def psql(url, statement):
    return run("psql", url, "-qAtc", statement)


def timed(act):
    started = time.monotonic()
    act()
    return time.monotonic() - started


def fill(path):
    """A user and a client by the command line, and sessions past it."""
    url = ["--database", f"sqlite:{path}"]
    run(PROGRAM, "user", "add", "alice", "--password-stdin", *url, text="tuesday fern lamp\n")
    run(PROGRAM, "client", "add", "web", *USUAL, "--audience", "https://a.example", *url)
    with sqlite3.connect(path) as file:
        (user,) = file.execute("SELECT user_id FROM users").fetchone()
        now = int(time.time())
        row = (user, "web", 0, "read", '["https://a.example"]', now, now, now + 86_400, now + 864_000, now + 1_000_000)
        rows = ((secrets.token_urlsafe(16), *row) for _ in range(SESSIONS))
        columns = "session_id, user_id, client_id, generation, scope, audiences, auth_time, refreshed_at, expires_at, ends_at, deletable_at"
        file.executemany(f"INSERT INTO sessions ({columns}) VALUES ({', '.join('?' * 11)})", rows)
    file.close()


def copy(source, target):
    """The seconds for which the source takes no changes."""
    report = json.loads(run(PROGRAM, "db", "copy", "--yes", "--json", "--from", source, "--to", target))
    rows = {table["table"]: table["rows"] for table in report["tables"]}
    assert rows["sessions"] == SESSIONS
    return report["seconds"]


def between_servers(source, target):
    psql(target, "DROP TABLE IF EXISTS beside; CREATE TABLE beside (LIKE sessions INCLUDING ALL)")
    out = ["psql", source, "-qc", "COPY sessions TO STDOUT (FORMAT binary)"]
    into = ["psql", target, "-qc", "COPY beside FROM STDIN (FORMAT binary)"]
    with subprocess.Popen(out, stdout=subprocess.PIPE) as reading:
        subprocess.run(into, stdin=reading.stdout, check=True)
    psql(target, "DROP TABLE beside")


def between_files(source, folder):
    path = os.path.join(folder, "beside.db")
    file = sqlite3.connect(path)
    file.execute("ATTACH ? AS source", (source,))
    made = "SELECT sql FROM source.sqlite_master WHERE tbl_name = 'sessions' AND sql IS NOT NULL ORDER BY type DESC"
    for (statement,) in file.execute(made).fetchall():
        file.execute(statement)
    with file:
        file.execute("INSERT INTO sessions SELECT * FROM source.sessions")
    file.close()
    os.remove(path)


def main():
    folder = tempfile.mkdtemp(prefix="jeton-copy-")
    first, last = (os.path.join(folder, name) for name in ("first.db", "last.db"))
    urls = []
    for name in ("copy_time_1", "copy_time_2"):
        psql(SERVER, f"DROP DATABASE IF EXISTS {name}")
        psql(SERVER, f"CREATE DATABASE {name}")
        urls.append(f"{BEFORE}/{name}")
    one, two = urls
    try:
        fill(first)
        print(f"{SESSIONS:,} sessions; one run of each, a file of {os.path.getsize(first) / 2**20:.0f} MiB")
        print("| from | to | `jeton db copy` | beside |")
        print("|---|---|---|---|")
        to_server = copy(f"sqlite:{first}", one)
        beside = timed(lambda: between_servers(one, one))
        print(f"| SQLite | PostgreSQL | {to_server:.1f} s | {beside:.1f} s |", flush=True)
        beside = timed(lambda: between_servers(one, one))
        print(f"| PostgreSQL | PostgreSQL | {copy(one, two):.1f} s | {beside:.1f} s |", flush=True)
        to_file = copy(two, f"sqlite:{last}")
        beside = timed(lambda: between_files(first, folder))
        print(f"| PostgreSQL | SQLite | {to_file:.1f} s | {beside:.1f} s |", flush=True)
        other = os.path.join(folder, "other.db")
        to_file = copy(f"sqlite:{last}", f"sqlite:{other}")
        beside = timed(lambda: between_files(last, folder))
        print(f"| SQLite | SQLite | {to_file:.1f} s | {beside:.1f} s |")
    finally:
        shutil.rmtree(folder)
        for name in ("copy_time_1", "copy_time_2"):
            psql(SERVER, f"DROP DATABASE IF EXISTS {name}")


main()
