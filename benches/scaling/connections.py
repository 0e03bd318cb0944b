#!/usr/bin/env python3
"""How many connections 50 replicas behind PgBouncer hold to PostgreSQL, which has its default of 100.

connections.py PROGRAM FOLDER [REPLICAS]: PROGRAM is a jeton, FOLDER an empty one of which every user may list the path. Makes
a server there (`tests/postgres`), starts PgBouncer of Debian in transaction mode before it, and the replicas. Prints the
most connections that were seen, looked at ten times a second.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROGRAM, FOLDER = sys.argv[1], Path(sys.argv[2]).resolve()
REPLICAS = int(sys.argv[3]) if len(sys.argv) > 3 else 50
AT_ONCE = 3 * REPLICAS
POSTGRES = Path(__file__).parents[2] / "tests" / "postgres"


def postgres(act):
    return subprocess.run([POSTGRES, act, FOLDER], check=True, capture_output=True, text=True).stdout.strip()


def psql(url, statement):
    said = subprocess.run(["psql", url, "-qAtc", statement], check=True, capture_output=True, text=True)
    return said.stdout.strip()


def start_server():
    url = postgres("start")
    psql(url, "ALTER SYSTEM SET max_connections = 100")
    postgres("stop")
    postgres("start")
    assert psql(url, "SHOW max_connections") == "100"
    return url


def start_pooler(server):
    """The process, and the URL through it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = FOLDER / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.rsplit(':', 1)[1].split('/')[0]} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 40\nmax_client_conn = 1000\nserver_idle_timeout = 20\n"
    )
    as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    process = subprocess.Popen([*as_other, "/usr/sbin/pgbouncer", "-q", file])
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    for _ in range(100):
        if subprocess.run(["psql", url, "-qc", "SELECT 1"], capture_output=True, check=False).returncode == 0:
            return process, url
        time.sleep(0.1)
    sys.exit("PgBouncer does not start")


class Watch:
    """Counts the connections of others to the database."""

    def __init__(self, url):
        self.url, self.most, self.ended = url, 0, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        own = ["psql", self.url, "-qAt"]
        with subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as session:
            while not self.ended.wait(0.1):
                session.stdin.write(
                    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid();\n"
                )
                self.most = max(self.most, int(session.stdout.readline()))
            session.stdin.close()

    def during(self, what, act):
        act()
        time.sleep(0.3)
        print(f"| {what} | {self.most} |", flush=True)
        self.most = 0


def main():
    server = start_server()
    pooler, url = start_pooler(server)
    watch, replicas, tokens = Watch(server), [], []
    sys.argv[2] = url
    from scene import PASSWORD, Replica, Scene, run  # it reads the arguments

    try:
        scene = Scene()
        # The least cost that the service accepts.
        run("user", "passwd", "alice", "--password-stdin", "--scrypt", "ln=15,r=8,p=3", text=PASSWORD + "\n")
        print("| while | most connections |")
        print("|---|---|")

        def start():
            replicas.append(Replica("http://localhost"))
            with ThreadPoolExecutor(4) as pool:
                replicas.extend(pool.map(lambda _: Replica("http://localhost"), range(REPLICAS - 1)))

        def log_in():
            tokens.extend(scene.login(replica)[1] for replica in replicas)

        def use(number):
            """A refresh, and two introspections, each at another replica."""
            own, at = tokens[number % REPLICAS], replicas[number % REPLICAS]
            if number < REPLICAS:
                form = {"grant_type": "refresh_token", "refresh_token": own["refresh_token"]}
                return at.ask("/token", form, scene.clients["web"])[0]
            return 200 if scene.is_active(at, own["access_token"]) else 0

        def use_all_at_once():
            with ThreadPoolExecutor(AT_ONCE) as pool:
                statuses = list(pool.map(use, range(AT_ONCE)))
            assert statuses == [200] * AT_ONCE, statuses

        watch.during(f"{REPLICAS} replicas start", start)
        watch.during("each is logged in to in turn", log_in)
        watch.during(f"{REPLICAS} refreshes and {AT_ONCE - REPLICAS} introspections come at once", use_all_at_once)
        time.sleep(45)
        watch.most = 0
        watch.during("all is quiet, for 20 s", lambda: time.sleep(20))
    finally:
        watch.ended.set()
        for process in [*(replica.process for replica in replicas), pooler]:
            process.kill()
            process.wait()
        postgres("stop")


main()
