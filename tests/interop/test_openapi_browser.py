"""Chromium shows docs/openapi.yaml in Swagger UI, which asks a Jeton elsewhere."""

import contextlib
import json
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from chromium import PATIENCE, chromium
from conftest import GETS_TOKENS, PASSWORD, ROOT, USERNAME, jeton, serving
from described import FILE
from fastapi_app import SWAGGER_UI

PICTURE = ROOT / "docs" / "openapi.png"
PAGE = b"""<!doctype html><meta charset="utf-8"><title>Jeton</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger-ui.css"><div id="page"></div>
<script src="/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.yaml", dom_id: "#page", docExpansion: "list"})</script>
"""


class Files(SimpleHTTPRequestHandler):
    """Swagger UI, the document as it is, and a page that shows the one by the other."""

    def do_GET(self):
        name = self.path.removeprefix("/")
        file = FILE if name == FILE.name else SWAGGER_UI / name
        content = file.read_bytes() if name else PAGE
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(name or "index.html"))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def shown_at():
    """Serves the page on a free port; gives its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Explorer:
    """The page, as somebody uses it who only looks at the screen."""

    def __init__(self, page, origin, issuer):
        self.page = page
        page.goto(origin)
        page.locator(".servers").get_by_role("textbox").fill(issuer)
        expect(page.locator(".servers code")).to_have_text(issuer)
        self.dialog = page.locator(".modal-ux")

    def authorize(self, scheme, fields):
        """Fills in a part of the dialog, and presses its button."""
        self.page.locator(".auth-wrapper .authorize").first.click()
        part = self.dialog.locator(".auth-container").filter(has_text=scheme)
        for label, value in fields.items():
            part.get_by_label(label).fill(value)
        if part.locator("input[data-value=read]").count():
            part.locator("label[for^=read] .item").click()
        part.get_by_role("button", name="Apply").click()
        return part

    def close_dialog(self):
        self.dialog.get_by_role("button", name="Close").first.click()

    def try_out(self, operation, **fields):
        """Calls an operation, and returns the part of the page that shows what it answers."""
        block = self.page.locator(f"[id$='-{operation}']")
        if not block.get_by_role("button", name="Execute").is_visible():
            block.locator(".opblock-summary-control").click()
            block.get_by_role("button", name="Try it out").click()
        for name, value in fields.items():
            block.locator(f"tr[data-property-name={name}] input[type]").first.fill(value)
        block.get_by_role("button", name="Execute").click()
        return block.locator(".live-responses-table .response")


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    where = ["--database", f"sqlite:{folder / 'jeton.db'}"]
    jeton("user", "add", USERNAME, "--password-stdin", *where, stdin=PASSWORD + "\n")
    jeton("client", "add", "page", "--public", *GETS_TOKENS, *where)
    secret = jeton("client", "add", "web", *GETS_TOKENS, *where)["client_secret"]
    where += ["--master-key-file", folder / "master.jwk"]
    with (
        shown_at() as origin,
        serving(folder / "log", *where, "--cors-origin", origin) as entry,
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.set_default_timeout(PATIENCE)
        explorer = Explorer(page, origin, entry["issuer"])
        explorer.secret = secret
        yield explorer


def test_the_page_logs_in_and_its_operations_work(explorer):
    """RFC 6749 §4.3, §6; RFC 7009; RFC 7517: each from a page of another origin."""
    fields = {"username:": USERNAME, "password:": PASSWORD, "client_id:": "page"}
    user = explorer.authorize("OAuth2, password", fields)
    expect(user.get_by_role("button", name="Remove authorization")).to_be_visible()
    if os.environ.get("JETON_UPDATE_DOCS"):
        explorer.page.locator(".dialog-ux .modal-ux").screenshot(path=PICTURE)
    explorer.close_dialog()
    secret = {"auth-basic-username": "web", "auth-basic-password": explorer.secret}
    explorer.authorize("http, Basic", secret)
    explorer.close_dialog()

    answer = explorer.try_out("token", username=USERNAME, password="secret")
    expect(answer).to_contain_text('"invalid_grant"')
    answer = explorer.try_out("token", username=USERNAME, password=PASSWORD)
    expect(answer).to_contain_text('"refresh_token"')
    tokens = json.loads(answer.locator(".highlight-code code").inner_text())
    answer = explorer.try_out("revoke", token=tokens["refresh_token"])
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    expect(explorer.try_out("jwks")).to_contain_text('"RS256"')
    # RFC 9700 §2.6: no page may introspect.
    expect(explorer.try_out("introspect", token="x")).to_contain_text("Failed to fetch")
