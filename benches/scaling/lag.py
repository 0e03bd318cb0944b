#!/usr/bin/env python3
"""How soon replicas know what was changed at one of them or by a command: replicas × lag.

lag.py PROGRAM DATABASE-URL: PROGRAM is a jeton, the database of PostgreSQL is empty. Prints a table of milliseconds from
the moment at which the change was answered until each replica goes by it: the longest of all replicas and rounds. What is
known with the next request is 0 wherever the first request after the answer already went by it.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from scene import KEYS, Replica, Scene, run

REPLICAS = (2, 5, 10)
ROUNDS = 3


def keys_of(replica):
    return {key["kid"] for key in replica.ask("/.well-known/jwks.json")[1]["keys"]}


def lag(what, replicas, is_known):
    """The change and the longest of all replicas, in milliseconds. One that goes by the change when first asked has 0."""
    started = time.monotonic()

    def of(replica):
        asked = 0
        while not is_known(replica):
            asked += 1
            time.sleep(0.005)
            if time.monotonic() - started > 60:
                raise TimeoutError(f"60 s, and {replica.address} does not go by: {what}")
        return (time.monotonic() - started) * 1e3 if asked else 0.0

    with ThreadPoolExecutor(len(replicas)) as pool:
        return what, max(pool.map(of, replicas))


def acts(scene, replicas):
    first, others = replicas[0], replicas[1:]
    tokens = scene.login(first)[1]
    assert all(scene.is_active(replica, tokens["access_token"]) for replica in replicas)
    first.ask("/revoke", {"token": tokens["refresh_token"]}, scene.clients["web"])
    yield lag("a token is revoked", others, lambda r: not scene.is_active(r, tokens["access_token"]))
    tokens = scene.login(first)[1]
    run("user", "disable", "alice")
    yield lag("a user is disabled", replicas, lambda r: not scene.is_active(r, tokens["access_token"]))
    run("user", "enable", "alice")
    run("client", "set", "web", "--scope", "read")
    yield lag("the scope of a client is narrowed", replicas, lambda r: scene.login(r, "write")[0] == 400)
    run("client", "set", "web", "--scope", "read", "--scope", "write")
    known = keys_of(first)
    run("key", "rotate", "--emergency", "--yes", *KEYS)
    yield lag("a key is made", replicas, lambda r: keys_of(r) - known)
    kid = min(known)
    run("key", "revoke", kid, "--yes", *KEYS)
    yield lag("a key is revoked", replicas, lambda r: kid not in keys_of(r))
    # The fifth failure makes the account wait for a second, which a login takes on a busy machine; the eighth for eight.
    for number, wait in enumerate((0, 0, 0, 0, 0, 1.5, 2.5, 4.5)):
        time.sleep(wait)
        # A replica that is too busy answers 503, and counts nothing.
        while scene.login(first, password=f"wrong {number} fern")[0] != 400:
            pass
    yield lag("an account is throttled", others, lambda r: scene.login(r)[0] == 400)
    run("user", "unlock", "alice", *KEYS)


def main():
    scene = Scene()
    table = {}
    for count in REPLICAS:
        replicas = [Replica(None)]
        replicas += [Replica(replicas[0].issuer) for _ in range(count - 1)]
        for _ in range(ROUNDS):
            for name, milliseconds in acts(scene, replicas):
                table.setdefault(name, {}).setdefault(count, []).append(milliseconds)
        for replica in replicas:
            replica.process.terminate()
            replica.process.wait()
    print("| what | " + " | ".join(f"{count} replicas" for count in REPLICAS) + " |")
    print("|---|" + "---|" * len(REPLICAS))
    for name, row in table.items():
        cells = (f"{sorted(times)[len(times) // 2]:.0f} [{min(times):.0f}..{max(times):.0f}]" for times in row.values())
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
