"""The metrics of a process, their text, and the documents about them."""

from __future__ import annotations

import json
import re

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from avtomatika import metrics

from .support.documents import ROOT, section, table
from .support.ports import free_port

DOCUMENT = ROOT / "docs" / "metrics.md"
#: Names of samples -> those of their metrics.
SUFFIXES = r"_(total|bucket|sum|count)$"


def counted() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of the metrics that processes count, by name as scraped."""
    found = {}
    for collector in metrics.REGISTRY._collector_to_names:
        if isinstance(collector, metrics.Counter | metrics.Histogram):
            name = collector._name + ("_total" if collector._type == "counter" else "")
            found[name] = (collector._type, tuple(collector._labelnames))
    return found


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = [row for name in ("Counted by processes", "Read from the server") for row in table(section(DOCUMENT, name))]
    return {row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[2]))) for row in rows}


def test_the_document_lists_what_processes_count() -> None:
    gauges = {name for name, (kind, _) in documented().items() if kind == "gauge"}

    assert {name: each for name, each in documented().items() if name not in gauges} == counted()
    assert gauges


def test_every_metric_of_the_dashboard_and_of_the_alerts_exists() -> None:
    texts = [(ROOT / "deploy" / "grafana-dashboard.json").read_text(), DOCUMENT.read_text()]
    panels = json.loads(texts[0])["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    named = {name for text in texts for name in re.findall(r"\bavtomatika_\w+", text)}

    assert len(expressions) >= 12
    unknown = {name for name in named if name not in documented() and re.sub(SUFFIXES, "", name) not in documented()}
    assert unknown == set()


def test_names_follow_the_conventions_of_prometheus() -> None:
    for name, (kind, _) in documented().items():
        assert re.fullmatch(r"avtomatika_[a-z_]+", name)
        assert name.endswith("_total") is (kind == "counter"), name
        assert name.endswith(("_seconds", "_tasks")) or kind != "histogram", name


def test_the_text_is_what_prometheus_reads() -> None:
    metrics.STEPS.labels('a "name"\nin\\ two lines').inc()

    families = {each.name: each for each in text_string_to_metric_families(metrics.exposition().decode())}

    assert {name.removesuffix("_total") for name in counted()} <= families.keys()
    assert 'a "name"\nin\\ two lines' in {each.labels["blueprint"] for each in families["avtomatika_steps"].samples}
    assert {each.type for each in families.values()} <= {"counter", "histogram", "gauge"}
    assert "_created" not in metrics.exposition().decode()


def test_a_label_has_at_most_500_values() -> None:
    found = {metrics.bounded("test", f"value {n}") for n in range(600)}

    assert len(found) == 501
    assert "other" in found
    assert metrics.bounded("test", "value 7") == "value 7"
    assert metrics.bounded("another", "value 599") == "value 599"


def test_a_port_shows_metrics_to_those_with_the_token() -> None:
    port = free_port()
    metrics.serve(port, "127.0.0.1", "token-of-scrapers")
    url = f"http://127.0.0.1:{port}/metrics"

    answers = [requests.get(url, headers={"Authorization": given}, timeout=10) for given in ("Bearer token", "", "é")]
    shown = requests.get(url, headers={"Authorization": "Bearer token-of-scrapers"}, timeout=10)

    assert [(each.status_code, "avtomatika_" in each.text) for each in answers] == [(401, False)] * 3
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE avtomatika_steps_total counter" in shown.text


def test_a_port_shows_whether_the_process_is_alive() -> None:
    port, lives = free_port(), [True, False]
    metrics.serve(port, "127.0.0.1", "token-of-scrapers", lambda: lives.pop(0))

    answers = [requests.get(f"http://127.0.0.1:{port}/livez", timeout=10).status_code for _ in range(2)]

    assert answers == [200, 503]


def test_a_port_that_is_taken_is_logged_and_does_not_end_the_process(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    for _ in range(2):
        metrics.serve(port, "127.0.0.1", None)

    assert f"METRICS_HOST=127.0.0.1 METRICS_PORT={port}: [Errno 98] Address already in use" in caplog.text
    assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).status_code == 200
