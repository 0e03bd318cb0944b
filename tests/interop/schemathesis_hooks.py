"""What schemathesis is told of the service beside docs/openapi.yaml."""

import itertools

import schemathesis

from conftest import PASSWORD, USERNAME

addresses = (f"2001:{number >> 16:x}:{number & 0xFFFF:x}::1" for number in itertools.count(1))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Sends each request from a network of its own, so that none is held back because others failed.
    Right passwords come from one network, which is known to their account then.

    A client authenticates in one way, which no schema can say: here by HTTP Basic."""
    form = case.body if isinstance(case.body, dict) else {}
    known = (form.get("username"), form.get("password")) == (USERNAME, PASSWORD)
    case.headers["X-Forwarded-For"] = "2001:db8::1" if known else next(addresses)
    if case.meta.generation.mode.is_positive:
        for name in ["client_id", "client_secret"]:
            form.pop(name, None)


@schemathesis.check
def not_held_back(context, response, case):
    assert response.status_code != 429
