"""A move from Keycloak: its users and clients are imported from what `kc.sh export` wrote, and an application that was
configured for it changes one URL. `tests/vectors/keycloak/make.py` runs the same application against that Keycloak."""

import json

import pytest

from application import Application
from conftest import ENGINES, ROOT, command, new_database, serving

VECTORS = ROOT / "tests" / "vectors" / "keycloak"
# The audience that all tokens of that realm have.
AUDIENCE = "account"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_application_of_keycloak_goes_on_with_one_url_changed(engine, tmp_path):
    expected = json.loads((VECTORS / "expected.json").read_text("utf-8"))
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(f'audiences = ["{AUDIENCE}"]\n')
    database = ["--database", new_database(engine, tmp_path)]
    master = ["--master-key-file", str(tmp_path / "master.jwk")]
    source = ["keycloak", VECTORS / "realm.json", "--mapping", mapping]
    secrets = {name: client["secret"] for name, client in expected["clients"].items()}
    with serving(tmp_path / "log", *database, *master) as entry:
        command("import", *source, *database, *master)
        for client, audience in [("web", AUDIENCE), ("shop", "api"), ("phone", AUDIENCE)]:
            application = Application(entry["issuer"], client, secrets[client], audience)
            users = expected["users"] if client == "web" else {"anna": expected["users"]["anna"]}
            for name, user in users.items():
                # These need a code beside the password, which an application does not change either.
                if "otp" in user:
                    continue
                barred = user["disabled"] or "required_actions" in user
                assert application.is_in_order(name, user["password"], user["sub"]) != barred, name
