"""Makes password-hashes.json: hashes as the libraries write them that people come from.

    apt-get install php-cli slapd slapd-contrib
    python3 -m venv venv && venv/bin/pip install passlib==1.7.4 bcrypt==4.3.0 Django==5.2.19 Werkzeug==3.1.9 \\
        argon2-cffi==25.1.0 pwdlib==0.3.1 cryptography==50.0.2
    npm install --no-save bcrypt@6.0.0 bcryptjs@3.0.3
    venv/bin/python tests/vectors/make_password_hashes.py > tests/vectors/password-hashes.json

Costs are low, so that the tests are fast, but for one hash of each library at its default.
"""

import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version

import argon2
import bcrypt
import django
import pwdlib
import werkzeug.security
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from django.conf import settings
from passlib import hash as passlib

warnings.simplefilter("ignore")
settings.configure()
django.setup()
from django.contrib.auth import hashers  # noqa: E402

PASSWORDS = [
    "",
    "secret",
    "correct horse battery staple",
    " a  b ",
    "a$b:c",
    "p\u00e4ssw\u00f6rd",
    "pa\u0308sswo\u0308rd",
    # A space that is prepared as U+0020; characters that no password set here has.
    "fern\u00a0lamp",
    "fern\tlamp",
    "\U0001f469\u200d\U0001f4bb fern",
    "\u043f\u0430\u0440\u043e\u043b\u044c",
    "\u5bc6\u7801\U0001f511",
    "a" * 71,
    "a" * 72,
    "a" * 73,
    "0123456789" * 10,
    # A letter of two octets, of which bcrypt reads one.
    "x" + "\u00e9" * 40,
]
# What a digest repeats takes as long as the password; here it is longer than any block.
LONG = "fern \u00e9" * 50
vectors = []


def add(made_by, form, password, text, also=()):
    """`also`: other passwords that the library takes for right."""
    vectors.append(
        {"made_by": made_by, "format": form, "password": password, "hash": text, "also": list(also)}
    )


def cut(password):
    """What a library that reads 72 octets takes for the same password."""
    octets = password.encode()
    if len(octets) < 72:
        return []
    other = octets[:72].decode(errors="ignore")
    return [other + "!" * 9] if len(other.encode()) == 72 else []


def of_passlib(form, handler, ignores_the_rest=False, passwords=PASSWORDS):
    library = f"passlib {version('passlib')}"
    for password in passwords:
        text = handler.hash(password)
        also = cut(password) if ignores_the_rest else []
        assert all(handler.verify(right, text) for right in [password, *also])
        add(library, form, password, text, also)


def of_django(form, hasher, **options):
    library = f"Django {version('Django')}"
    for password in PASSWORDS:
        text = hasher.encode(password, hasher.salt(), **options)
        assert hasher.verify(password, text)
        add(library, form, password, text)


def of_werkzeug(method):
    library = f"Werkzeug {version('Werkzeug')}"
    for password in PASSWORDS:
        text = werkzeug.security.generate_password_hash(password, method)
        assert werkzeug.security.check_password_hash(text, password)
        add(library, method.rsplit(":", 1)[0] if "pbkdf2" in method else "scrypt", password, text)


for ident in ["2a", "2b", "2y"]:
    of_passlib(f"bcrypt ${ident}$", passlib.bcrypt.using(rounds=4, ident=ident), True)
of_passlib("bcrypt-sha256 v2", passlib.bcrypt_sha256.using(rounds=4))
of_passlib("bcrypt-sha256 v1", passlib.bcrypt_sha256.using(rounds=4, version=1, ident="2a"))
of_passlib("pbkdf2-sha256", passlib.pbkdf2_sha256.using(rounds=100))
of_passlib("pbkdf2-sha512", passlib.pbkdf2_sha512.using(rounds=100))
of_passlib("scrypt", passlib.scrypt.using(rounds=4))
of_passlib("argon2id", passlib.argon2.using(rounds=1, memory_cost=64, parallelism=2))
add(f"passlib {version('passlib')}", "bcrypt at its default", "secret", passlib.bcrypt.hash("secret"))
text = passlib.pbkdf2_sha256.hash("secret")
add(f"passlib {version('passlib')}", "pbkdf2-sha256 at its default", "secret", text)
text = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
assert passlib.bcrypt.verify("secret", text)
add("FastAPI's tutorial", "bcrypt", "secret", text)

for password in PASSWORDS:
    octets = password.encode()[:72]
    text = bcrypt.hashpw(octets, bcrypt.gensalt(4)).decode()
    add(f"bcrypt {version('bcrypt')} (PyPI)", "bcrypt $2b$", password, text, cut(password))

of_django("pbkdf2_sha256", hashers.PBKDF2PasswordHasher(), iterations=100)
scrypt = hashers.ScryptPasswordHasher()
of_django("scrypt", scrypt, n=16, r=8, p=2)
cheap = hashers.BCryptSHA256PasswordHasher()
cheap.rounds = 4
for password in PASSWORDS:
    text = cheap.encode(password, cheap.salt())
    assert cheap.verify(password, text)
    add(f"Django {version('Django')}", "bcrypt_sha256", password, text)
plain = hashers.BCryptPasswordHasher()
plain.rounds = 4
for password in [password for password in PASSWORDS if len(password.encode()) <= 72]:
    text = plain.encode(password, plain.salt())
    assert plain.verify(password, text)
    add(f"Django {version('Django')}", "bcrypt", password, text)
cheap = hashers.Argon2PasswordHasher()
cheap.time_cost, cheap.memory_cost, cheap.parallelism = 1, 64, 2
for password in PASSWORDS:
    text = cheap.encode(password, cheap.salt())
    assert cheap.verify(password, text)
    add(f"Django {version('Django')}", "argon2", password, text)
for hasher in [hashers.PBKDF2PasswordHasher(), scrypt, hashers.Argon2PasswordHasher()]:
    text = hasher.encode("secret", hasher.salt())
    add(f"Django {version('Django')}", f"{hasher.algorithm} at its default", "secret", text)

for method in ["scrypt:16:8:2", "pbkdf2:sha256:100", "pbkdf2:sha512:100"]:
    of_werkzeug(method)
for method in ["scrypt", "pbkdf2"]:
    text = werkzeug.security.generate_password_hash("secret", method)
    add(f"Werkzeug {version('Werkzeug')}", f"{method} at its default", "secret", text)

library = f"argon2-cffi {version('argon2-cffi')}"
for kind, form in [(argon2.Type.ID, "argon2id"), (argon2.Type.I, "argon2i")]:
    for at in [0x10, 0x13]:
        for password in PASSWORDS:
            salt = bytes(range(16))
            text = argon2.low_level.hash_secret(password.encode(), salt, 2, 96, 3, 24, kind, at)
            add(library, f"{form} version {at}", password, text.decode())
add(library, "argon2id at its default", "secret", argon2.PasswordHasher().hash("secret"))
text = pwdlib.PasswordHash.recommended().hash("secret")
add(f"pwdlib {version('pwdlib')}", "argon2id at its default", "secret", text)

for module in ["bcrypt", "bcryptjs"]:
    script = f"""
        const bcrypt = (await import({module!r})).default;
        const passwords = JSON.parse(process.argv[1]);
        console.log(JSON.stringify(passwords.map((p) => bcrypt.hashSync(p, 4))));
    """
    command = ["node", "--input-type=module", "-e", script, json.dumps(PASSWORDS)]
    hashes = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    at = json.load(open(f"node_modules/{module}/package.json"))["version"]
    for password, text in zip(PASSWORDS, hashes, strict=True):
        add(f"{module} {at} (Node)", "bcrypt", password, text, cut(password))

# crypt(3), PHP's phpass, and directories.
for form, handler in [
    ("sha256crypt", passlib.sha256_crypt.using(rounds=1000)),
    ("sha512crypt", passlib.sha512_crypt.using(rounds=1000)),
    ("sha256crypt with a short salt", passlib.sha256_crypt.using(rounds=1001, salt_size=3)),
    ("sha512crypt without a salt", passlib.sha512_crypt.using(rounds=1002, salt_size=0)),
    ("phpass $P$", passlib.phpass.using(rounds=7)),
    ("phpass $H$", passlib.phpass.using(rounds=7, ident="$H$")),
    ("pbkdf2-sha1", passlib.pbkdf2_sha1.using(rounds=100)),
]:
    of_passlib(form, handler, passwords=[*PASSWORDS, LONG])
for form, handler in [
    ("sha256crypt of 5,000 rounds", passlib.sha256_crypt.using(rounds=5000)),
    ("sha512crypt of 5,000 rounds", passlib.sha512_crypt.using(rounds=5000)),
    ("{SHA}", passlib.ldap_sha1),
    ("{SSHA}", passlib.ldap_salted_sha1),
    ("{SSHA256}", passlib.ldap_salted_sha256),
    ("{SSHA512}", passlib.ldap_salted_sha512),
    ("{CRYPT} bcrypt", passlib.ldap_bcrypt.using(rounds=4)),
    ("{CRYPT} sha512crypt", passlib.ldap_sha512_crypt.using(rounds=1000)),
    ("{PBKDF2}", passlib.ldap_pbkdf2_sha1.using(rounds=100)),
    ("{PBKDF2-SHA256}", passlib.ldap_pbkdf2_sha256.using(rounds=100)),
    ("{PBKDF2-SHA512}", passlib.ldap_pbkdf2_sha512.using(rounds=100)),
    ("{PKCS5S2}", passlib.atlassian_pbkdf2_sha1),
]:
    of_passlib(form, handler, form == "{CRYPT} bcrypt", ["secret", *PASSWORDS[2:8], PASSWORDS[-2], LONG])
for handler in [passlib.sha256_crypt, passlib.sha512_crypt, passlib.phpass, passlib.pbkdf2_sha1]:
    text = handler.hash("secret")
    add(f"passlib {version('passlib')}", f"{handler.name} at its default", "secret", text)

of_django("pbkdf2_sha1", hashers.PBKDF2SHA1PasswordHasher(), iterations=100)
for prefix in ["2a", "2y"]:
    for hasher in [hashers.BCryptPasswordHasher(), hashers.BCryptSHA256PasswordHasher()]:
        for password in [password for password in PASSWORDS if len(password.encode()) <= 72]:
            salt = bcrypt.gensalt(4).replace(b"2b", prefix.encode())
            text = hasher.encode(password, salt)
            assert hasher.verify(password, text)
            form = f"{hasher.algorithm}$${prefix}$"
            assert text.startswith(form), text
            add(f"Django {version('Django')}", form, password, text)

of_werkzeug("pbkdf2:sha1:100")

# PHP. What WordPress and Drupal do with its functions is written here as they do it.
PHP = r"""
const ITOA64 = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
// PasswordHash::encode64
function encode64($input, $count) {
    for ($output = '', $i = 0; $i < $count;) {
        $value = ord($input[$i++]);
        $output .= ITOA64[$value & 0x3f];
        if ($i < $count) $value |= ord($input[$i]) << 8;
        $output .= ITOA64[($value >> 6) & 0x3f];
        if ($i++ >= $count) break;
        if ($i < $count) $value |= ord($input[$i]) << 16;
        $output .= ITOA64[($value >> 12) & 0x3f];
        if ($i++ >= $count) break;
        $output .= ITOA64[($value >> 18) & 0x3f];
    }
    return $output;
}
// PasswordHash::crypt_private, and _password_crypt of Drupal 7, which cuts off after 55 characters
function portable($algorithm, $begin, $log, $password) {
    $salt = encode64(random_bytes(6), 6);
    $hash = hash($algorithm, $salt . $password, true);
    for ($count = 1 << $log; $count; $count--) $hash = hash($algorithm, $hash . $password, true);
    return substr($begin . ITOA64[$log] . $salt . encode64($hash, strlen($hash)), 0, 55);
}
$makers = [
    'password_hash bcrypt' => fn($p) => password_hash($p, PASSWORD_BCRYPT, ['cost' => 4]),
    'password_hash argon2i' => fn($p) => password_hash($p, PASSWORD_ARGON2I, ['memory_cost' => 64, 'time_cost' => 1]),
    'password_hash argon2id' => fn($p) => password_hash($p, PASSWORD_ARGON2ID, ['memory_cost' => 64, 'time_cost' => 1]),
    'crypt $5$' => fn($p) => crypt($p, '$5$rounds=1000$' . bin2hex(random_bytes(8)) . '$'),
    'crypt $6$' => fn($p) => crypt($p, '$6$rounds=1000$' . bin2hex(random_bytes(8)) . '$'),
    'phpass $P$' => fn($p) => portable('md5', '$P$', 7, $p),
    'phpass $H$' => fn($p) => portable('md5', '$H$', 8, $p),
    'Drupal 7 $S$' => fn($p) => portable('sha512', '$S$', 7, $p),
    'WordPress 6.8 $wp$' => fn($p) => '$wp' . password_hash(
        base64_encode(hash_hmac('sha384', $p, 'wp-sha384', true)), PASSWORD_BCRYPT, ['cost' => 4]),
];
foreach ($makers as $form => $make)
    foreach (json_decode(stream_get_contents(fopen($argv[1], 'r'))) as $password)
        $vectors[] = [$form, $password, $make($password)];
echo json_encode([PHP_VERSION, $vectors]);
"""
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump([*PASSWORDS, LONG], file)
    file.flush()
    command = ["php", "-r", PHP, file.name]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
at, made = json.loads(output)
for form, password, text in made:
    add(f"PHP {at}", form, password, text, cut(password) if form == "password_hash bcrypt" else [])

# slapd's own program, with its modules. The last character of a salt of bcrypt is one of four.
status = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "slapd"], check=True, capture_output=True, text=True)
library = f"slappasswd {status.stdout}"
for module, scheme, options in [
    (None, "{SHA}", []),
    (None, "{SSHA}", []),
    ("pw-sha2", "{SHA256}", []),
    ("pw-sha2", "{SSHA256}", []),
    ("pw-sha2", "{SHA384}", []),
    ("pw-sha2", "{SSHA384}", []),
    ("pw-sha2", "{SHA512}", []),
    ("pw-sha2", "{SSHA512}", []),
    ("pw-pbkdf2", "{PBKDF2}", []),
    ("pw-pbkdf2", "{PBKDF2-SHA1}", []),
    ("pw-pbkdf2", "{PBKDF2-SHA256}", []),
    ("pw-pbkdf2", "{PBKDF2-SHA512}", []),
    ("argon2 m=64 t=1 p=1", "{ARGON2}", []),
    (None, "{CRYPT}", ["-c", "$2y$04$%.21su"]),
    (None, "{CRYPT}", ["-c", "$5$%.16s"]),
    (None, "{CRYPT}", ["-c", "$6$rounds=1000$%.8s"]),
]:
    modules = ["-o", "module-path=/usr/lib/ldap", "-o", f"module-load={module}"] if module else []
    for password in [*PASSWORDS[1:9], PASSWORDS[-2], PASSWORDS[-1], LONG]:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(password)
            file.flush()
            command = ["slappasswd", *modules, "-h", scheme, *options, "-n", "-T", file.name]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        form = f"{scheme} {options[1].split('$')[1]}" if options else scheme
        add(library, form, password, text, cut(password) if form == "{CRYPT} 2y" else [])


def base64_of(octets):
    return base64.b64encode(octets).decode()


def pbkdf2(digest, password, salt, iterations, length):
    return hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations, length)


# The layouts that 389 Directory Server and ASP.NET Identity (PasswordHasher.cs) publish.
for password in [*PASSWORDS, LONG]:
    library, salt = "hashlib of Python", os.urandom(64)
    output = pbkdf2("sha256", password, salt, 100, 256)
    text = "{PBKDF2_SHA256}" + base64_of(struct.pack(">I", 100) + salt + output)
    add(library, "389 Directory Server {PBKDF2_SHA256}", password, text)
    salt = os.urandom(16)
    text = base64_of(b"\0" + salt + pbkdf2("sha1", password, salt, 1000, 32))
    add(library, "ASP.NET Identity 2", password, text)
    for number, digest in enumerate(["sha1", "sha256", "sha512"]):
        head = b"\1" + struct.pack(">III", number, 100, len(salt))
        text = base64_of(head + salt + pbkdf2(digest, password, salt, 100, 32))
        add(library, f"ASP.NET Identity 3 {digest}", password, text)
text = base64_of(b"\1" + struct.pack(">III", 2, 100_000, 16) + salt + pbkdf2("sha512", "secret", salt, 100_000, 32))
add(library, "ASP.NET Identity 3 at its default", "secret", text)

# Supabase's text for Firebase's scrypt, and the example of github.com/firebase/scrypt in it.
signer_key, separator = os.urandom(64), b"\7"
for password in [*PASSWORDS, LONG]:
    salt = os.urandom(10)
    key = hashlib.scrypt(password.encode(), salt=salt + separator, n=16, r=8, p=1, dklen=32)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    output = encryptor.update(signer_key) + encryptor.finalize()
    parameters = f"v=1,n=4,r=8,p=1,ss={base64_of(separator)},sk={base64_of(signer_key)}"
    text = f"$fbscrypt${parameters}${base64_of(salt)}${base64_of(output)}"
    add(f"hashlib of Python, cryptography {version('cryptography')}", "$fbscrypt$", password, text)
add(
    "github.com/firebase/scrypt",
    "$fbscrypt$ at its default",
    "user1password",
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,"
    "sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    "$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
)

json.dump(vectors, sys.stdout, indent=0, ensure_ascii=True)
print()
