"""The metrics, as other people's programs read them: promtool, Prometheus, the parser of OpenMetrics, and the dashboard."""

import json
import os
import subprocess
import time

import pytest
import requests
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.openmetrics import parser

from certificates import Certificate
from monitoring import DASHBOARD, ROOT, Replica, asked, panels, prometheus
from verification import wait_until

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,*/*;q=0.1"


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """A service that has done some of everything, with TLS, so that no metric is missing."""
    folder = tmp_path_factory.mktemp("metrics")
    replica = Replica(folder / "replica")
    pair = Certificate(folder)
    replica.start("--tls-certificate", pair.chain, "--tls-key", pair.key)
    replica.url = f"https://{replica.public}"
    replica.authority = pair.authority
    yield replica
    replica.end()


def use(replica):
    """Asks for some of everything."""
    with requests.Session() as session:
        session.verify, session.trust_env = str(replica.authority), False
        replica.login("nobody", "guess", session)
        login = replica.login(session=session).json()
        form = {"grant_type": "refresh_token", "refresh_token": login["refresh_token"]}
        refreshed = replica.post("/token", "web", session, **form).json()
        replica.post("/introspect", "api", session, token=refreshed["access_token"])
        replica.post("/revoke", "web", session, token=refreshed["refresh_token"])
        session.get(f"{replica.url}/.well-known/jwks.json")


def test_promtool_finds_nothing_wrong(replica):
    use(replica)
    page = replica.metrics()
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=page.text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_parser_of_openmetrics_takes_every_family(replica):
    """promtool reads no OpenMetrics; this parser is the strict one of its specification's authors."""
    use(replica)
    page = replica.metrics(OPEN_METRICS)
    assert page.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(parser.text_string_to_metric_families(page.text))
    assert len(families) > 40
    for family in families:
        assert family.documentation and family.samples, family
        for unit in ["seconds", "bytes"]:
            assert (family.unit == unit) == family.name.endswith(f"_{unit}"), family


def test_prometheus_reads_the_metrics_and_every_panel_has_data(replica, tmp_path):
    """Each query of the dashboard finds something at a service that is in use."""
    with prometheus(tmp_path / "prometheus", [replica]) as api:
        queries = {
            (panel["title"], target["expr"]): target["expr"]
            .replace("$__rate_interval", "15s")
            .replace("$instance", ".*")
            for panel in panels()
            for target in panel["targets"]
        }

        def without_data():
            use(replica)
            missing = []
            for key, query in queries.items():
                found = asked(api, "query", query=query)["result"]
                if not any(result["value"][1] != "NaN" for result in found):
                    missing.append(key)
            return missing

        wait_until(lambda: not without_data(), "every query has data")
        [target] = asked(api, "targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        known = asked(api, "metadata")
        assert known["process_resident_memory_bytes"][0]["unit"] == "bytes"
        names = asked(api, "label/__name__/values", **{"match[]": '{job="jeton"}'})
        own = [name for name in names if name.startswith(("jeton_", "process_"))]
        ends = ["", "_total", "_info", "_bucket", "_sum", "_count"]
        for name in own:
            about = [known[name.removesuffix(e)][0] for e in ends if name.removesuffix(e) in known]
            assert about and all(entry["help"] for entry in about), name
        if "JETON_UPDATE_DOCS" in os.environ:
            draw(api, replica)


def test_the_dashboard_is_what_grafana_reads():
    """The types of Grafana's SDK read every member, and write the same again."""
    file = json.loads(DASHBOARD.read_text())
    read = Dashboard.from_json(file)
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    assert set(file) <= set(written)
    assert len(written["panels"]) == len(file["panels"])
    places = set()
    for panel, again in zip(file["panels"], written["panels"]):
        assert (panel["title"], panel["type"]) == (again["title"], again["type"])
        assert panel["gridPos"].items() <= again["gridPos"].items()
        own = [target["expr"] for target in panel.get("targets", [])]
        assert own == [target["expr"] for target in again.get("targets", [])]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, f"{panel['title']} covers another panel"
        places |= cells
    assert len({panel["id"] for panel in file["panels"]}) == len(file["panels"])


def draw(api, replica):
    """Uses the service for two minutes more, and draws what the panels show."""
    from dashboard import picture

    end = time.monotonic() + 120
    while time.monotonic() < end:
        use(replica)
        time.sleep(0.1)
    picture(api, ROOT / "docs" / "dashboard.png")
