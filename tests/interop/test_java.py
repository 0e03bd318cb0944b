"""Spring Boot and Nimbus with what docs/verify-java.md says of their own configuration, and the tools of Java."""

import re
import shlex
import subprocess

from conftest import JETON, command
from verification import JAVA_PACKAGES
from verification import blocks, deployed
from verifiers import running


def test_spring_boot_takes_tokens_of_the_type_jwt_as_it_is(tmp_path):
    """RFC 9068 §2.1: without a line of code Spring takes `JWT` alone. The other checks are made as well."""
    service, api = tmp_path / "service", tmp_path / "api"
    service.mkdir()
    api.mkdir()
    with deployed("sqlite", service, "https") as deployment:
        environment = deployment.environment()
        with running("verifying.properties", api, environment) as server:
            assert server.ask(f"Bearer {deployment.good}").status_code == 401
            tell = blocks()["text"].text.split()[1:]
            command(*tell, "--database", f"sqlite:{service / 'jeton.db'}")
            answer = server.ask(f"Bearer {deployment.token()}")
            assert (answer.status_code, answer.json()) == (200, {"sub": deployment.subject})
            typed = {"header": {"typ": "JWT"}}
            assert server.ask(f"Bearer {deployment.signed(**typed)}").status_code == 200
            for wrong in [{"iss": "https://evil.example.com"}, {"aud": "https://other.example.com"}]:
                token = deployment.signed(**typed, **wrong)
                assert server.ask(f"Bearer {token}").status_code == 401
            without_scope = deployment.signed(**typed, scope="write")
            assert server.ask(f"Bearer {without_scope}").status_code == 403


def test_spring_and_nimbus_read_the_metadata(service):
    """RFC 8414 §3, OpenID Connect Discovery 1.0 §3: both documents, by the strict parsers. [M-01] [M-25]"""
    path = (JAVA_PACKAGES / "classpath").read_text(encoding="utf-8").strip()
    program = ["java", "-cp", path, "tests/interop/java/Metadata.java", service.issuer]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith(("Nimbus, ", "Spring, "))]
    found = f"{service.issuer}/token"
    readers = ["Nimbus, OpenID", "Nimbus, OAuth", "Spring, client", "Spring, OpenID client"]
    assert said == [*(f"{reader}: {found}" for reader in readers), "Spring, decoders: made"]


def test_a_keystore_of_java_is_imported_by_the_commands_that_are_named(tmp_path):
    """RFC 7292: Java's own format is refused with the commands that convert it, and these do."""
    keys = ["--database", f"sqlite:{tmp_path / 'jeton.db'}", "--master-key-file", tmp_path / "master.jwk"]
    passwords = ["-srcstorepass", "password", "-deststorepass", "password"]

    def run(*arguments):
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)

    def convert(file, *further):
        """Has a file refused, and runs the command that the refusal names."""
        refused = run(JETON, "key", "import", "--yes", file, *keys)
        assert refused.returncode == 1, refused.stdout
        [named, *_] = re.findall(r"`(.*?)`", refused.stderr)
        done = run(*shlex.split(named.replace("FILE", file)), *further)
        assert done.returncode == 0, f"{named}: {done.stdout}{done.stderr}"

    made = ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-alias", "signs", "-dname", "CN=signs"]
    made += ["-storetype", "JKS", "-keystore", "old.jks", "-storepass", "password"]
    assert run("keytool", *made).returncode == 0
    convert("old.jks", *passwords)
    convert("key.p12", "-passin", "pass:password")
    command("key", "import", "--yes", tmp_path / "key.pem", *keys)
    assert "signing" in command("key", "list", *keys)
