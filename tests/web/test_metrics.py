"""``/metrics`` of the web, and the scaling signal."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from avtomatika.store import NewJob, Store

from ..support.processes import processes_in
from ..support.web import WebServer
from ..test_metrics import documented
from .conftest import created_id, problem, video


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels, the latter sorted."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def scrape(client: FlaskClient) -> dict[tuple[str, ...], float]:
    response = client.get("/metrics")
    assert response.status_code == 200, response.text
    return samples(response.text)


def test_the_figures_are_those_of_the_server(operator: FlaskClient, alice: FlaskClient, store: Store) -> None:
    for _ in range(3):
        created_id(alice)
    store.registry.register("w-1", {"type": "video", "skills": [{"name": "encode", "schema": {}}]})
    store.registry.beat("w-1", {"status": "own words"})

    found = scrape(operator)

    assert found["avtomatika_jobs", "status=pending"] == 3
    assert found["avtomatika_jobs", "status=finished"] == 0
    assert found["avtomatika_blueprint_jobs", "blueprint=video"] == 3
    assert found["avtomatika_blueprint_jobs", "blueprint=nightly"] == 0
    assert found["avtomatika_unfinished_jobs", "blueprint=video", "status=pending"] == 3
    assert found["avtomatika_queue_messages", "queue=steps.video", "state=waiting"] == 3
    assert found["avtomatika_queue_messages", "queue=encode", "state=waiting"] == 0
    assert found["avtomatika_queue_oldest_seconds", "queue=steps.video"] > 0
    assert found["avtomatika_workers", "status=own words"] == 1
    assert found["avtomatika_timers",] == 0


def test_jobs_of_unknown_blueprints_and_queues_of_unknown_names_are_other(operator: FlaskClient, store: Store) -> None:
    response = operator.post("/api/v1/tasks/invented", json={"params": {}})
    assert response.status_code == 202
    store._server.execute(("ZADD", "{avt.g0}:jobs:status:finished", 1, "g0-elsewhere"))

    found = scrape(operator)

    assert found["avtomatika_blueprint_jobs", "blueprint=_tasks"] == 1
    assert found["avtomatika_blueprint_jobs", "blueprint=other"] == 1
    assert not [key for key in found if "queue=invented" in key]
    assert ("avtomatika_queue_messages", "queue=other", "state=waiting") in found


def test_every_figure_is_documented(operator: FlaskClient, store: Store) -> None:
    created_id(operator)
    store._server.execute(("XADD", "{avt.g0}:q:encode:dead", "1-1", "p", ""))
    store._server.execute(("ZADD", "{avt.g0}:dead", 10**15, "encode"))
    store.registry.register("w-1", {"type": "video", "skills": []})
    families = text_string_to_metric_families(operator.get("/metrics").text)

    found = {each.name: tuple(sorted(each.samples[0].labels)) for each in families if each.type == "gauge"}

    gauges = {name: tuple(sorted(labels)) for name, (kind, labels) in documented().items() if kind == "gauge"}
    assert {name: labels for name, labels in found.items() if name.startswith("avtomatika_")} == gauges


def test_requests_are_counted_by_route(operator: FlaskClient, alice: FlaskClient) -> None:
    keys = [
        ("avtomatika_http_requests_total", "endpoint=jobs.show_job", "method=GET", "status=404"),
        ("avtomatika_http_requests_total", "endpoint=other", "method=other", "status=404"),
        ("avtomatika_http_request_duration_seconds_count", "endpoint=jobs.show_job"),
    ]
    before = scrape(operator)
    for path in ("/api/v1/jobs/g0-1", "/api/v1/jobs/g0-2", "/no/such/page", "/nor/this"):
        alice.get(path)

    after = scrape(operator)

    assert [after[key] - before.get(key, 0) for key in keys] == [2, 2, 2]


@pytest.mark.parametrize(("token", "status"), [("", 401), ("wrong", 401), ("token-of-alice-in-tests", 403)])
def test_only_scrapers_and_operators_see_metrics(anybody: FlaskClient, token: str, status: int) -> None:
    response = anybody.get("/metrics", headers={"Authorization": f"Bearer {token}"})

    problem(response, status, "forbidden" if status == 403 else "unauthorized")
    assert "avtomatika_" not in response.text


def test_the_token_of_scrapers_shows_metrics_and_nothing_else(app: Flask, anybody: FlaskClient) -> None:
    app.config["METRICS_TOKEN"] = "token-of-scrapers"
    headers = {"Authorization": "Bearer token-of-scrapers"}

    assert anybody.get("/metrics", headers=headers).status_code == 200
    problem(anybody.get("/api/v1/overview", headers=headers), 401, "unauthorized")


def test_a_scrape_costs_as_many_commands_with_a_thousand_jobs_as_with_ten(
    operator: FlaskClient, store: Store, redis_url: str
) -> None:
    costs = []
    with redis.Redis.from_url(redis_url) as server:
        for count in (10, 990):
            store.create_many([NewJob(plan=video.plan, client="operator") for _ in range(count)])
            attempts = []
            for _ in range(3):  # the clock of the server is read from time to time
                before = server.info("stats")["total_commands_processed"]
                scrape(operator)
                attempts.append(server.info("stats")["total_commands_processed"] - before)
            costs.append(min(attempts))

    assert costs[0] == costs[1]


def test_the_counts_of_several_processes_add_up_and_outlive_each(tmp_path: Path, redis_url: str) -> None:
    web = WebServer(tmp_path, {"REDIS_URL": redis_url}, "--workers", "3")
    key = ("avtomatika_http_requests_total", "endpoint=jobs.show_job", "method=GET", "status=404")

    def ask(count: int) -> None:
        for _ in range(count):  # each by a new connection, which any process may take
            assert web.request("GET", "/api/v1/jobs/g0-1")[0] == 404

    def scraped() -> float:
        status, _, response = web.request("GET", "/metrics")
        assert status == 200
        return samples(response.text)[key]

    try:
        ask(60)
        first = [scraped() for _ in range(6)]
        for pid in processes_in(tmp_path) - {web.process.pid}:
            os.kill(pid, signal.SIGKILL)
        web.process.wait_until(lambda: web.log.count("Booting worker") >= 6)
        ask(40)
        second = [scraped() for _ in range(6)]
        folders = {entry for entry in Path("/tmp").glob("avtomatika-metrics-*") if any(entry.iterdir())}
        assert web.process.end(signal.SIGTERM) == 0
        left = {entry for entry in folders if entry.exists()}
    finally:
        web.kill()

    assert first == [60] * 6
    assert second == [100] * 6
    assert folders - left
