"""Chromium shows the page of examples/fastapi, whose Authorize button asks Jeton elsewhere."""

import contextlib
import os
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from playwright.sync_api import expect

from chromium import PATIENCE, chromium
from conftest import ROOT, jeton
from fastapi_app import PASSWORD, site

# What the dialog asks for.
FIELDS = ["oauth_username", "oauth_password", "client_id_password", "client_secret_password"]
PICTURE = ROOT / "docs" / "swagger-ui.png"


class Docs:
    """The page /docs, as somebody uses it who only looks at the screen."""

    def __init__(self, page, origin):
        self.page = page
        page.goto(f"{origin}/docs")
        self.dialog = page.locator(".modal-ux")
        # The dialog and the page below it both show it.
        self.error = self.dialog.locator(".errors")
        self.logout = self.dialog.get_by_role("button", name="Remove authorization")

    def open_dialog(self):
        self.page.locator(".auth-wrapper").get_by_role("button", name="Authorize").click()

    def close_dialog(self):
        self.dialog.get_by_role("button", name="Close").click()

    def fill_in(self, password, scopes=("me",)):
        self.dialog.get_by_label("username:").fill("johndoe")
        self.dialog.get_by_label("password:").fill(password)
        for scope in ["me", "items"]:
            box = self.dialog.locator(f"input[data-value={scope}]")
            if box.is_checked() != (scope in scopes):
                # The box itself is covered by what is painted in its place.
                self.dialog.locator(f"label[for={box.get_attribute('id')}] .item").click()

    def send(self):
        """Presses the button, and returns the request that comes of it."""
        with self.page.expect_request("**/token") as sent:
            self.dialog.get_by_role("button", name="Apply given OAuth2 credentials").click()
        return sent.value

    def log_in(self, password=PASSWORD, **more):
        self.open_dialog()
        self.fill_in(password, **more)
        self.send()
        expect(self.logout).to_be_visible()
        self.close_dialog()

    def log_out(self):
        self.open_dialog()
        self.logout.click()
        self.close_dialog()

    def try_out(self, path):
        """Calls an endpoint, and returns the part of the page that shows what it answers."""
        block = self.page.locator(f'.opblock:has([data-path="{path}"])')
        if not block.get_by_role("button", name="Execute").is_visible():
            block.locator(".opblock-summary-control").click()
            block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        return block.locator(".live-responses-table .response")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def origins(tmp_path_factory):
    with site(tmp_path_factory.mktemp("site")) as (_, *origins):
        yield origins


@contextlib.contextmanager
def shown(browser, origin, issuer):
    """The page, which may ask nobody but its own origin and Jeton."""
    page = browser.new_page(viewport={"width": 1000, "height": 1000})
    page.set_default_timeout(PATIENCE)
    asked = set()
    page.on("request", lambda request: asked.add(request.url))
    yield Docs(page, origin)
    page.close()
    elsewhere = {url for url in asked if not url.startswith((f"{origin}/", "data:"))}
    assert elsewhere <= {f"{issuer}/token"}


@pytest.fixture
def docs(browser, origins):
    with shown(browser, *origins) as docs:
        yield docs


def take_picture(page, answer):
    # The command line would show a token.
    page.add_style_tag(content=".curl-command { display: none }")
    end = answer.locator(".highlight-code").bounding_box()
    height = end["y"] + end["height"] - 32
    page.screenshot(path=PICTURE, clip={"x": 0, "y": 40, "width": 1000, "height": height})


def test_the_authorize_button_gets_a_token_that_the_api_takes(docs):
    """The Fetch standard, RFC 6749 §4.3: a page of another origin logs in. [C-01] [C-03] [C-18]"""
    docs.open_dialog()
    expect(docs.dialog.get_by_label("client_id:")).to_have_value("docs")
    docs.close_dialog()
    docs.log_in()
    answer = docs.try_out("/users/me")
    expect(answer).to_contain_text('"preferred_username": "johndoe"')
    expect(answer.locator(".response-col_status")).to_contain_text("200")
    if os.environ.get("JETON_UPDATE_DOCS"):
        take_picture(docs.page, answer)


def test_a_wrong_password_is_shown_as_such(docs):
    """RFC 6749 §5.2: the page may read the error, so that its user sees what was wrong. [C-05]"""
    docs.open_dialog()
    docs.fill_in("secrets")
    docs.send()
    expect(docs.error).to_contain_text("invalid_grant, description: The credentials are not valid.")
    docs.fill_in(PASSWORD)
    docs.send()
    expect(docs.logout).to_be_visible()


@pytest.mark.parametrize("location", ["Authorization header", "Request body"])
def test_the_client_may_be_named_in_either_place(docs, location):
    """RFC 6749 §2.3.1, §3.2.1: a public client names itself, with an empty secret."""
    docs.open_dialog()
    docs.fill_in(PASSWORD)
    docs.dialog.get_by_label("Client credentials location:").select_option(location)
    sent = docs.send()
    assert ("client_id=docs" in sent.post_data) == (location == "Request body")
    assert ("authorization" in sent.headers) == (location == "Authorization header")
    expect(docs.logout).to_be_visible()


def test_the_dialog_has_no_field_for_a_one_time_password(browser, tmp_path):
    """docs/second-factor.md: a user with an authenticator cannot log in here, and one without can."""
    with site(tmp_path) as (database, *origins), shown(browser, *origins) as docs:
        added = jeton("user", "otp", "add", "johndoe", *database)
        secret = parse_qs(urlsplit(added["otpauth"]).query)["secret"][0]
        docs.open_dialog()
        fields = docs.dialog.locator("input[type=text], input[type=password]")
        names = [field.get_attribute("id") for field in fields.all()]
        assert names == FIELDS
        docs.close_dialog()
        docs.log_in()
        docs.log_out()
        jeton("user", "otp", "confirm", "johndoe", pyotp.TOTP(secret).now(), *database)
        docs.open_dialog()
        docs.fill_in(PASSWORD)
        docs.send()
        expect(docs.error).to_contain_text("invalid_grant")


def test_whoever_logs_out_can_log_in_again(docs):
    docs.log_in()
    expect(docs.try_out("/users/me")).to_contain_text("johndoe")
    docs.log_out()
    expect(docs.try_out("/users/me")).to_contain_text("Not authenticated")
    docs.log_in()
    expect(docs.try_out("/users/me")).to_contain_text("johndoe")


def test_the_scopes_that_are_ticked_decide_what_the_token_may(docs):
    """RFC 6750 §3.1: insufficient_scope, with the scope that is needed."""
    docs.log_in(scopes=["me"])
    answer = docs.try_out("/users/me/items")
    expect(answer.locator(".response-col_status")).to_contain_text("403")
    expect(answer).to_contain_text('error="insufficient_scope"')
    expect(answer).to_contain_text('scope="items"')
    docs.log_out()
    docs.log_in(scopes=["me", "items"])
    expect(docs.try_out("/users/me/items")).to_contain_text('"owner": "johndoe"')
    docs.log_out()
    docs.log_in(scopes=[])
    expect(docs.try_out("/users/me")).to_contain_text('"scope": "me"')


def test_without_a_default_client_an_empty_client_is_refused(docs):
    """RFC 6749 §5.2. The page shows the error; the browser asks nothing itself."""
    docs.open_dialog()
    docs.fill_in(PASSWORD)
    docs.dialog.get_by_label("client_id:").fill("")
    assert docs.send().headers["authorization"] == "Basic Og=="
    expect(docs.error).to_contain_text("invalid_client")


def test_with_a_default_client_the_client_may_be_left_empty(browser, tmp_path):
    """RFC 6749 §4.3.2. What /docs sends when nothing was prepared for it is enough."""
    with (
        site(tmp_path, "--default-client", "docs") as (_, *origins),
        shown(browser, *origins) as docs,
    ):
        docs.open_dialog()
        docs.fill_in(PASSWORD)
        docs.dialog.get_by_label("client_id:").fill("")
        assert docs.send().headers["authorization"] == "Basic Og=="
        expect(docs.logout).to_be_visible()
        docs.close_dialog()
        expect(docs.try_out("/users/me")).to_contain_text("johndoe")


def test_a_page_of_an_origin_that_is_not_listed_gets_nothing(browser, origins):
    """The Fetch standard: `localhost` is another origin than 127.0.0.1."""
    origin, issuer = origins
    with shown(browser, origin.replace("127.0.0.1", "localhost"), issuer) as docs:
        docs.open_dialog()
        docs.fill_in(PASSWORD)
        docs.send()
        expect(docs.error).to_contain_text("Failed to fetch")
