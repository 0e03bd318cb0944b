"""The alerts of packaging/prometheus/alerts.yaml: each comes when it should, and not before.

Real faults happen to real services that Prometheus watches, all at once; an alert that waits (`for:`) is seen to begin.
With JETON_LONG set, as in `tests/long`, it is seen to fire if that takes at most ten minutes. `promtool` holds all of them
to their time, and those that no quick fault causes.
"""

import concurrent.futures
import contextlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import requests
import yaml

from certificates import Certificate
from conftest import command, new_database
from monitoring import RULES, Replica, asked, faketime, is_long, prometheus, rules
from verification import wait_until

# `for:` longer than this is left to `promtool`.
LONGEST = 600


def seconds(duration):
    """What `for:` says, in seconds."""
    count, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()
    return int(count) * {"s": 1, "m": 60, "h": 3600}[unit]


def for_of(rule):
    return seconds(rule.get("for", "0s"))


class Fault:
    """A replica, what happens to it, and the alerts that must come of it."""

    alerts = set()

    def __init__(self, folder):
        self.replica = Replica(folder / type(self).__name__.lower())

    def begin(self):
        """Starts the replica, which is well, or has the fault from the start."""
        self.replica.start()

    def happen(self):
        """Has the fault happen; may be called again and again."""

    def end(self):
        self.replica.end()


class Healthy(Fault):
    """Is in use and well: no alert."""

    def begin(self):
        # However busy the machine is with the others.
        self.replica.start("--login-deadline", "1m")

    def happen(self):
        token = self.replica.login().json()["access_token"]
        self.replica.post("/introspect", "api", token=token)


class Killed(Fault):
    alerts = {"JetonDown"}

    def happen(self):
        self.replica.process.kill()


class DatabaseGone(Fault):
    """The file of SQLite is moved away. Logins are answered 503."""

    alerts = {"JetonNotReady", "JetonReloadFails", "JetonKeysOld", "JetonUnavailable"}

    def happen(self):
        if self.replica.file.exists():
            self.replica.file.rename(self.replica.folder / "elsewhere.db")
        wait_until(lambda: self.replica.login().status_code == 503, "the file is missed")


class DatabaseLocked(Fault):
    """Another process holds the lock of SQLite, so no write succeeds."""

    alerts = {"JetonNotReady"}
    lock = None

    def happen(self):
        if self.lock is None:
            file = self.replica.file
            self.lock = sqlite3.connect(file, timeout=30, check_same_thread=False)
            self.lock.execute("BEGIN IMMEDIATE")

    def end(self):
        if self.lock is not None:
            self.lock.close()
        super().end()


class ClockWrong(Fault):
    """The clock of the replica is 50 s ahead of that of PostgreSQL."""

    alerts = {"JetonNotReady", "JetonClockOff"}

    def __init__(self, folder):
        database = new_database("postgres", folder)
        self.replica = Replica(folder / "clockwrong", database)

    def begin(self):
        # The first start makes the keys, for which the clock must be right.
        self.replica.start()
        self.replica.end()
        self.replica.start(by=faketime("+50s"))


class CertificateOld(Fault):
    """The certificate is good for 12 more hours."""

    alerts = {"JetonCertificateExpired", "JetonCertificateExpires"}

    def begin(self):
        pair = Certificate(self.replica.folder, hours=12)
        self.replica.start("--tls-certificate", pair.chain, "--tls-key", pair.key)


class TokenStolen(Fault):
    """A refresh token is presented again after its exchange."""

    alerts = {"JetonRefreshTokenReused"}

    def begin(self):
        self.replica.start("--refresh-retry-window", "0s")

    def happen(self):
        first = self.replica.login().json()["refresh_token"]
        assert self.replica.refresh(first).status_code == 200
        # The service waits 250 ms before it says so, and withholds the verdict after a standstill.
        assert self.replica.refresh(first).status_code == 400


class Restored(Fault):
    """The database is an older copy: tokens are ahead of it, and of sessions that it does not know."""

    alerts = {"JetonDatabaseLostWrites", "JetonSessionsUnknown"}

    def begin(self):
        replica = self.replica.start()
        self.before = replica.login().json()["refresh_token"]
        copy = replica.folder / "copy.db"
        command("db", "backup", copy, *replica.database)
        for _ in range(2):
            self.before = replica.refresh(self.before).json()["refresh_token"]
        self.lost = replica.login().json()["access_token"]
        replica.end()
        command("db", "restore", copy, "--yes", *replica.database)
        replica.start()

    def happen(self):
        if self.before:
            assert self.replica.refresh(self.before).status_code == 200
            self.before = None
            with requests.Session() as session:
                for _ in range(150):
                    answer = self.replica.post("/introspect", "api", session, token=self.lost)
                    assert answer.json() == {"active": False}


class KeyForeign(Fault):
    """A signing key was sealed with another master key, as after a mix-up of two databases."""

    alerts = {"JetonKeysUnusable"}

    def happen(self):
        if hasattr(self, "other"):
            return
        self.other = Replica(self.replica.folder / "other", empty=True).start()
        self.other.end()
        with contextlib.closing(sqlite3.connect(self.replica.file, timeout=30)) as database:
            database.execute("ATTACH ? AS other", [str(self.other.file)])
            database.execute("UPDATE other.keys SET generation = 7, activates_at = activates_at + 5000")
            database.execute("INSERT INTO main.keys SELECT * FROM other.keys WHERE purpose = 'signing'")
            database.commit()


class TooManyLogins(Fault):
    """More logins than the processor can hash in --login-deadline."""

    alerts = {"JetonLoginsShed", "JetonUnavailable"}

    def __init__(self, folder):
        self.replica = Replica(folder / "toomanylogins", scrypt=["--scrypt", "ln=17,r=8,p=4"])

    def begin(self):
        self.replica.start("--hash-threads", "1", "--login-deadline", "1s")

    def happen(self):
        # An account may have few attempts under way, so each is for a name of its own.
        with concurrent.futures.ThreadPoolExecutor(60) as callers:
            list(callers.map(self.replica.login, [f"invented-{number}" for number in range(60)]))


class LogUnread(Fault):
    """Nobody reads the log: the pipe fills, then the queue."""

    alerts = {"JetonLogLinesDropped"}

    def begin(self):
        self.replica.start(log=subprocess.PIPE)

    def happen(self):
        dropped = re.compile(r'jeton_log_lines_dropped_total{kind="audit"} [1-9]')
        with requests.Session() as session:
            while not dropped.search(self.replica.metrics().text):
                for _ in range(500):
                    session.post(f"{self.replica.url}/token", data={"grant_type": "password"})


class Frozen(Fault):
    """The process is stopped for some seconds."""

    alerts = {"JetonStoodStill"}

    def happen(self):
        self.replica.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        self.replica.process.send_signal(signal.SIGCONT)


class ProxySilent(Fault):
    """A trusted proxy does not say for whom it calls."""

    alerts = {"JetonCallersUnnamed"}

    def begin(self):
        self.replica.start("--trusted-proxy", "127.0.0.1/32")

    def happen(self):
        assert self.replica.login().status_code == 200


class TokensInvented(Fault):
    """A resource server passes on tokens that nobody issued."""

    alerts = {"JetonUnknownTokens"}

    def happen(self):
        with requests.Session() as session:
            for number in range(120):
                self.replica.post("/introspect", "api", session, token=f"invented-{number}")


class Guessed(Fault):
    """Somebody tries many passwords."""

    alerts = {"JetonGuessing"}

    def happen(self):
        with requests.Session() as session:
            for number in range(400):
                self.replica.login(f"invented-{number}", "guess", session)


class RowDamaged(Fault):
    """A row in the database is damaged: 500."""

    alerts = {"JetonFault"}

    def happen(self):
        with contextlib.closing(sqlite3.connect(self.replica.file, timeout=30)) as database:
            database.execute("UPDATE users SET roles = 'rubbish'")
            database.commit()
        assert self.replica.login().status_code == 500


class ConnectionsTaken(Fault):
    """Callers keep connections open and send nothing."""

    alerts = {"JetonConnectionsShort"}

    def begin(self):
        self.replica.start("--max-connections", "4")
        self.idle = []

    def happen(self):
        host, port = self.replica.public.split(":")
        for _ in range(4):
            self.idle.append(socket.create_connection((host, int(port))))
        time.sleep(1.2)
        assert requests.get(f"{self.replica.url}/.well-known/jwks.json").ok

    def end(self):
        for connection in self.idle:
            connection.close()
        super().end()


class FilesShort(Fault):
    """The limit of open files is nearly reached."""

    alerts = {"JetonFilesShort"}

    def happen(self):
        text = self.replica.metrics().text
        [used] = re.findall(r"^process_open_fds (\d+)", text, re.MULTILINE)
        limit = f"--nofile={int(used) + 1}:"
        subprocess.run(["prlimit", f"--pid={self.replica.process.pid}", limit], check=True)


FAULTS = [
    *[Killed, DatabaseGone, DatabaseLocked, ClockWrong, CertificateOld, TokenStolen, Restored, KeyForeign],
    *[TooManyLogins, LogUnread, Frozen, ProxySilent, TokensInvented, Guessed, RowDamaged],
    *[ConnectionsTaken, FilesShort],
]
# What no fault causes within a minute without special means.
BY_PROMTOOL_ALONE = {"JetonAccountLocked", "JetonSlow", "JetonDatabaseBusy"}


def test_every_alert_has_a_fault_or_a_reason():
    caused = set().union(*(fault.alerts for fault in FAULTS))
    assert caused | BY_PROMTOOL_ALONE == set(rules()) and not caused & BY_PROMTOOL_ALONE


def states(api):
    """The alerts that there are: pending or firing, by name and instance."""
    alerts = asked(api, "alerts")["alerts"]
    return {(a["labels"]["alertname"], a["labels"]["instance"]): a["state"] for a in alerts}


def test_real_faults_raise_the_alerts(tmp_path):
    faults = [fault(tmp_path) for fault in [Healthy, *FAULTS]]
    with contextlib.ExitStack() as stack:
        for fault in faults:
            stack.callback(fault.end)
            fault.begin()
        replicas = [fault.replica for fault in faults]
        api = stack.enter_context(prometheus(tmp_path / "prometheus", replicas))
        # A rise is seen from one scrape to the next, so there must be one before the fault.
        all_are_up = f"count(jeton_ready{{need='running'}} == 1) == {len(faults)}"
        wait(lambda: asked(api, "query", query=all_are_up)["result"], 30, "all are scraped")
        over = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(len(faults)) as pool:
            running = [pool.submit(again_and_again, fault, over) for fault in faults]
            try:
                watch(api, faults, running)
            finally:
                over.set()
        for fault in running:
            fault.result()


def again_and_again(fault, over):
    """A fault goes on, so that an alert that waits does not end before it fires."""
    fault.happen()
    lasts = not isinstance(fault, (Killed, LogUnread, Frozen))
    while not over.wait(5 if is_long() else 2):
        if lasts:
            fault.happen()


def enough(rule):
    """The states of an alert that a test waits for."""
    if for_of(rule) == 0 or (is_long() and for_of(rule) <= LONGEST):
        return ["firing"]
    return ["pending", "firing"]


def watch(api, faults, running):
    """Waits for every alert, and sees that none comes where all is well."""
    known = rules()
    wanted = {(alert, f.replica.name): known[alert] for f in faults for alert in f.alerts}
    longest = max(for_of(rule) for rule in known.values() if for_of(rule) <= LONGEST)
    patience = 240 + (longest + 60 if is_long() else 0)
    seen = {}

    def missing():
        for fault in running:
            if fault.done():
                fault.result()
        for key, state in states(api).items():
            # A busy machine may take the processor from any of them.
            fired = key[1] == "healthy" and state == "firing" and key[0] != "JetonStoodStill"
            assert not fired, f"{key[0]} fires where all is well"
            if seen.get(key) != "firing":
                seen[key] = state
        return {key for key, rule in wanted.items() if seen.get(key) not in enough(rule)}

    wait(lambda: not missing(), patience, lambda: f"missing: {missing()}")


def wait(is_so, patience, what):
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.5)


# By alert: series of a service that is well, and of one that is not, a value a minute in the notation of promtool.
REPLICA = 'instance="a", job="jeton"'


def series(name, labels=""):
    return f"{name}{{{REPLICA}{', ' + labels if labels else ''}}}"


def rising(name, labels="", well="0x200", ill="0+60x200"):
    return [(series(name, labels), well, ill)]


CASES = {
    "JetonDown": rising("up", "", "1x200", "0x200"),
    "JetonNotReady": rising("jeton_ready", 'need="database"', "1x200", "0x200"),
    "JetonClockOff": rising("jeton_clock_offset_seconds", "", "4x200", "-6x200"),
    "JetonCertificateExpires": rising(
        "jeton_tls_certificate_expires_seconds", "", "1300000x200", "1200000x200"
    ),
    "JetonCertificateExpired": rising(
        "jeton_tls_certificate_expires_seconds", "", "90000x200", "-5x200"
    ),
    "JetonReloadFails": rising("jeton_reload_failures_total", "", "0+1x200", "0+20x200"),
    "JetonKeysUnusable": rising("jeton_keys_unusable", "", "0x200", "1x200"),
    "JetonKeysOld": rising("jeton_keys_age_seconds", "", "3x200", "90x200"),
    "JetonRefreshTokenReused": rising(
        "jeton_refresh_tokens_reused_total", 'behind="1", verdict="ended"', "2x200", "0+1x200"
    ),
    "JetonDatabaseLostWrites": rising("jeton_sessions_caught_up_total", "", "2x200", "0+1x200"),
    "JetonSessionsUnknown": rising(
        "jeton_unknown_sessions_total", 'endpoint="token"', "0+5x200", "0+60x200"
    ),
    "JetonAccountLocked": rising("jeton_accounts_locked_total", "", "1x200", "0+1x200"),
    "JetonUnknownTokens": rising("jeton_unknown_token_floods_total", "", "1x200", "0+1x200"),
    "JetonGuessing": rising(
        "jeton_token_requests_total", 'grant="password", outcome="wrong_password"', "0+30x200", "0+90x200"
    ),
    "JetonLoginsShed": rising("jeton_hashing_refused_total", "", "0+1x200", "0+6x200"),
    "JetonSlow": [
        (series("jeton_http_request_duration_seconds_bucket", f'route="token", le="{le}"'), well, ill)
        for le, well, ill in [
            ("1.0", "0+100x200", "0+90x200"),
            ("3.0", "0+100x200", "0+90x200"),
            ("10.0", "0+100x200", "0+100x200"),
            ("+Inf", "0+100x200", "0+100x200"),
        ]
    ],
    "JetonUnavailable": [
        (series("jeton_http_requests_total", 'route="token", status="200"'), "0+90x200", "0+90x200"),
        (series("jeton_http_requests_total", 'route="token", status="503"'), "0+1x200", "0+10x200"),
    ],
    "JetonFault": rising("jeton_http_requests_total", 'route="token", status="500"', "1x200", "0+1x200"),
    "JetonDatabaseBusy": rising("jeton_database_pool_waiting", "", "0x200", "2x200"),
    "JetonConnectionsShort": rising("jeton_connections_gave_way_total", "", "3x200", "0+1x200"),
    "JetonFilesShort": [
        (series("process_open_fds"), "80x200", "950x200"),
        (series("process_max_fds"), "1000x200", "1000x200"),
    ],
    "JetonLogLinesDropped": rising(
        "jeton_log_lines_dropped_total", 'kind="audit"', "3x200", "0+1x200"
    ),
    "JetonStoodStill": rising("jeton_standstills_total", "", "1x200", "0+1x200"),
    "JetonCallersUnnamed": rising(
        "jeton_unnamed_callers_total", 'why="missing"', "5x200", "0+1x200"
    ),
}


def test_promtool_finds_nothing_wrong_with_the_rules():
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def case(alert, which, fires):
    """A test of promtool: whether an alert fires at these moments, in seconds, for a service that is well (1) or not (2)."""
    count = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": row[0], "values": row[which]} for row in CASES[alert]],
        "promql_expr_test": [
            {"expr": count, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": 1}] * does}
            for at, does in fires.items()
        ],
    }


def test_each_alert_waits_as_long_as_it_says(tmp_path):
    """No alert where all is well. Where it is not, the alert does not fire before `for:` is over, and then it does; a window
    of a rate, which the fault has to fill, is at most 15 minutes."""
    assert set(CASES) == set(rules())
    tests = []
    for alert, rule in rules().items():
        waits = for_of(rule)
        early = {waits - 60: False} if waits >= 60 else {}
        tests.append(case(alert, 1, {1200: False, 7200: False}))
        tests.append(case(alert, 2, {**early, waits + 900: True}))
    settings = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}
    shutil.copy(RULES, tmp_path / "alerts.yaml")
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(settings))
    promtool = ["promtool", "test", "rules", tmp_path / "tests.yaml"]
    done = subprocess.run(promtool, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
