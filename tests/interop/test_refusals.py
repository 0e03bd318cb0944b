"""Clients that no one here wrote send content that is refused before it is read, and read why."""

import json
import subprocess

import pytest
import requests

from client_libraries import PACKAGES
from conftest import ROOT

SCRIPT = ROOT / "tests" / "interop" / "node" / "form_data.js"
TRIES = 40
# What is refused: the path, the method, further headers, and how it is answered.
REFUSED = {
    "media type": ("token", "POST", {}, "400 invalid_request"),
    "path": ("oauth/token", "POST", {}, "404 invalid_request"),
    "method": ("token", "PUT", {}, "405 invalid_request"),
    "origin": ("token", "POST", {"Origin": "https://evil.example"}, "403 invalid_request"),
}
LENGTHS = [10, 10_000, 100_000, 2_000_000]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("case", REFUSED)
def test_fetch_reads_why(service, case, length):
    path, method, headers, expected = REFUSED[case]
    asked = {"url": f"{service.issuer}/{path}", "method": method, "headers": headers}
    script = SCRIPT.read_text(encoding="utf-8")
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        cwd=PACKAGES,
        input=json.dumps({**asked, "length": length}) + "\n",
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(done.stdout) == {expected: TRIES}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("case", REFUSED)
def test_requests_reads_why(service, case, length):
    path, method, headers, expected = REFUSED[case]
    for _ in range(5):
        files = {"file": ("file.txt", b"x" * length)}
        url = f"{service.issuer}/{path}"
        answer = requests.request(method, url, headers=headers, files=files, timeout=60)
        assert f"{answer.status_code} {answer.json()['error']}" == expected


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("case", REFUSED)
def test_curl_reads_why(service, case, length, tmp_path):
    path, method, headers, expected = REFUSED[case]
    file = tmp_path / "file.txt"
    file.write_text("x" * length)
    command = ["curl", "-sS", "-X", method, "-F", f"file=@{file}", "-w", "\n%{http_code}"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    for _ in range(5):
        done = subprocess.run(
            [*command, f"{service.issuer}/{path}"], capture_output=True, check=True, text=True
        )
        content, status = done.stdout.rsplit("\n", 1)
        assert f"{status} {json.loads(content)['error']}" == expected
