"""The first commands of the README do what it says."""

import json
import os
import re
import subprocess

import pytest

from conftest import AUDIENCE, PASSWORD, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language, start):
    """The blocks of code in a language that begin so."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [block for block in found if block.startswith(start)]


def at(service, block):
    """A block with this service in the place of the README's."""
    block = block.replace("http://localhost:8080", service.issuer)
    block = block.replace("https://api.example.com", AUDIENCE)
    return block.replace("password=…", f"password={PASSWORD}")


def told(service, block, **variables):
    """Runs a block, and returns the answer, with the members that the README shows of it."""
    variables |= {"WEB": service.secrets["web"], "API": service.secrets["api"]}
    done = subprocess.run(
        ["bash", "-euc", at(service, block)],
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
        text=True,
    )
    shown = re.findall(r'"(\w+)":', block.split("# {")[1])
    return json.loads(done.stdout), shown


@pytest.fixture
def token(service):
    [block] = blocks("sh", "curl -s http://localhost:8080/token")
    answer, shown = told(service, block)
    assert set(shown) <= set(answer)
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 600)
    assert answer["scope"] == "read write"
    return answer["access_token"]


def test_curl_gets_a_token_and_asks_about_it(service, token):
    [block] = blocks("sh", "curl -s http://localhost:8080/introspect")
    answer, shown = told(service, block, TOKEN=token)
    assert set(shown) <= set(answer)
    assert (answer["active"], answer["iss"]) == (True, service.issuer)


def test_python_verifies_the_token(service, token):
    [block] = blocks("python", "import jwt")
    names = {"token": token}
    exec(compile(at(service, block), "README.md", "exec"), names)
    assert names["claims"]["client_id"] == "web"
