"""Keys rotate while tokens are issued, and no resource server that caches key sets notices."""

import concurrent.futures
import contextlib
import queue
import threading
import time

import jwt
import pytest
import requests

from conftest import ENGINES, GETS_TOKENS, PASSWORD, USERNAME
from conftest import command, jeton, new_database, serving
from resource_servers import ResourceServers, UnverifiedByJose

ISSUER = "https://auth.example"
# The cheapest hash that is allowed, because a login is not the point here.
COST = ["--scrypt", "ln=15,r=8,p=3"]
JWKS_MAX_AGE = 1
LEAD = 2 * JWKS_MAX_AGE + 60
# The longest wait for something to happen that must happen, on a machine that is busy.
PATIENCE = 120
CLIENTS = 2
REFRESHES_PER_LOGIN = 50


class Installation:
    """A database with a user and a client, and replicas that share it and stop with `running`."""

    def __init__(self, engine, folder, running):
        self.engine = engine
        self.folder = folder
        self.running = running
        self.replicas = []
        self.database = ["--database", new_database(engine, folder)]
        self.keys = [*self.database, "--master-key-file", folder / "master.jwk"]
        self.keys += ["--jwks-max-age", f"{JWKS_MAX_AGE}s"]
        jeton("user", "add", USERNAME, "--password-stdin", *COST, *self.database, stdin=PASSWORD)
        jeton("client", "add", "app", "--public", *GETS_TOKENS, *self.database)

    def add_replica(self):
        log = self.folder / f"replica-{len(self.replicas) + 1}.log"
        options = [*self.keys, *COST, "--issuer", ISSUER, "--access-token-lifetime", "40s"]
        entry = self.running.enter_context(serving(log, *options))
        self.replicas.append(f"http://{entry['public']}")

    def announce_key(self):
        """Rotates, and returns the key that is published by it."""
        command("key", "rotate", "--yes", *self.keys)
        listed = jeton("key", "list", *self.keys)
        [key] = [key for key in listed if key["state"] == "published"]
        return key


@contextlib.contextmanager
def installation(engine, folder):
    with contextlib.ExitStack() as running:
        yield Installation(engine, folder, running)


def jwks(replica):
    return f"{replica}/.well-known/jwks.json"


class Session:
    """What a client does: it logs in, and refreshes, at any replica."""

    def __init__(self):
        self.http = requests.Session()
        self.refresh_token = None

    def log_in(self, replica):
        return self.ask(replica, "password", username=USERNAME, password=PASSWORD, scope="read")

    def refresh(self, replica):
        return self.ask(replica, "refresh_token", refresh_token=self.refresh_token)

    def ask(self, replica, grant_type, **parameters):
        form = {"grant_type": grant_type, "client_id": "app", **parameters}
        answer = self.http.post(f"{replica}/token", data=form)
        assert answer.status_code == 200, answer.text
        self.refresh_token = answer.json()["refresh_token"]
        return answer.json()["access_token"]


class Load(threading.Thread):
    """A client that never pauses, and resource servers that verify at once what it gets.

    The first token of each key is put into the queue, or what went wrong instead.
    """

    def __init__(self, replicas):
        super().__init__()
        self.replicas = replicas
        self.news = queue.Queue()
        self.stopping = threading.Event()
        self.verified = 0
        self.last_tokens = {}
        self.published = set()

    def run(self):
        try:
            with ResourceServers(ISSUER) as servers:
                self.verify_everywhere(servers)
                session = Session()
                while not self.stopping.is_set():
                    self.go_round(session, servers)
        except Exception as problem:
            self.news.put(problem)

    def go_round(self, session, servers):
        session.log_in(self.replicas[0])
        for turn in range(REFRESHES_PER_LOGIN):
            if self.stopping.is_set():
                break
            token = session.refresh(self.replicas[turn % len(self.replicas)])
            kid = jwt.get_unverified_header(token)["kid"]
            is_first = kid not in self.last_tokens
            assert kid in self.published, "it signed before every replica had published it"
            self.last_tokens[kid] = token
            self.verify_everywhere(servers)
            self.verified += 1
            if is_first:
                self.news.put(token)

    def verify_everywhere(self, servers):
        """Verifies the last token of each key, at resource servers that know only one replica each, and
        notes which keys all replicas publish."""
        urls = [jwks(replica) for replica in list(self.replicas)]
        self.published = set.intersection(*map(servers.published, urls))
        assert self.last_tokens.keys() <= self.published, "a key is gone too early"
        for url in urls:
            for token in self.last_tokens.values():
                if not is_about_to_expire(token):
                    servers.verify_by_pyjwt(token, url)
                    servers.verify_by_jose(token, url)

    def next_key(self):
        """Waits for the first token of a key, and returns its kid and when it was issued."""
        news = self.news.get(timeout=LEAD + PATIENCE)
        if isinstance(news, Exception):
            raise news
        return jwt.get_unverified_header(news)["kid"], unverified(news)["iat"]


def unverified(token):
    return jwt.decode(token, options={"verify_signature": False})


def is_about_to_expire(token):
    return unverified(token)["exp"] < time.time() + 10


@contextlib.contextmanager
def under_load(replicas):
    loads = [Load(replicas) for _ in range(CLIENTS)]
    for load in loads:
        load.start()
    try:
        yield loads
    finally:
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join()


def rotate_under_load(installation):
    """Rotates twice, and returns how many tokens were verified meanwhile."""
    for _ in range(2):
        installation.add_replica()
    with under_load(installation.replicas) as loads:
        [first] = {load.next_key()[0] for load in loads}
        seen = {first}
        for rotation in range(2):
            announced = installation.announce_key()
            assert announced["activates_at"] - announced["created_at"] >= LEAD
            if rotation == 1 and installation.engine == "postgres":
                # These start with a key in the database that is published and does not sign yet.
                for _ in range(3):
                    installation.add_replica()
            for load in loads:
                kid, issued_at = load.next_key()
                assert kid == announced["kid"]
                assert issued_at >= announced["activates_at"]
            seen.add(announced["kid"])
        assert len(seen) == 3
    for load in loads:
        assert load.news.empty(), load.news.get()
    return sum(load.verified for load in loads)


@pytest.fixture(scope="module")
def rotations(tmp_path_factory):
    """Rotations on both engines at once, because they are two minutes of waiting."""

    def run(engine):
        with installation(engine, tmp_path_factory.mktemp(engine)) as installed:
            return rotate_under_load(installed)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield {engine: pool.submit(run, engine) for engine in ENGINES}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_that_signs_unannounced_is_noticed(engine, tmp_path):
    """The resource servers of the test below do notice a key that they cannot know."""
    with installation(engine, tmp_path) as installed, ResourceServers(ISSUER) as servers:
        installed.add_replica()
        [replica] = installed.replicas
        url, session = jwks(replica), Session()
        before = session.log_in(replica)
        servers.verify_by_pyjwt(before, url)
        servers.verify_by_jose(before, url)
        command("key", "rotate", "--emergency", "--yes", *installed.keys)
        kid = jwt.get_unverified_header(before)["kid"]
        deadline = time.monotonic() + PATIENCE
        while jwt.get_unverified_header(token := session.refresh(replica))["kid"] == kid:
            assert time.monotonic() < deadline, "the new key does not sign"
        with pytest.raises(jwt.PyJWKClientError, match="signing key"):
            servers.verify_by_pyjwt(token, url)
        with pytest.raises(UnverifiedByJose, match="ERR_JWKS_NO_MATCHING_KEY"):
            servers.verify_by_jose(token, url)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_resource_server_notices_a_rotation(engine, rotations):
    """RFC 8414 §2, OpenID Connect Core §10.1.1: whoever cached a key set knows the next key before it
    signs, and finds the one before in it as long as its tokens are good. [K-22] [K-23] [K-25]"""
    print(f"{rotations[engine].result()} tokens were verified")
