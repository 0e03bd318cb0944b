"""What the Python servers share: who their users are, and scrypt of the cost that Jeton has by default."""

import hashlib
import os

PASSWORD = "tuesday fern lamp"
CLIENT = ("web", "0123456789abcdefghij")
LN, R, P = 17, 8, 1


def users():
    return [f"user{number}" for number in range(int(os.environ["PEERS_CALLERS"]))]


def _hash(password, salt):
    # OpenSSL refuses to take more than 32 MiB unless it is told.
    most = 256 << 20
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << LN, r=R, p=P, maxmem=most, dklen=32)


def scrypt(password):
    salt = os.urandom(16)
    return salt + _hash(password, salt)


def verify_scrypt(password, stored):
    return _hash(password, stored[:16]) == stored[16:]
