from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import DispatchTask, GoTo
from avtomatika.core.job import Job
from avtomatika.web import graphs

from .conftest import created_id, problem, video

Move = Callable[..., Job]
GRAPH = "/api/v1/blueprints/video/graph"


@pytest.fixture(autouse=True)
def nothing_is_drawn_yet() -> Iterator[None]:
    yield
    graphs._draw_once.cache_clear()


def test_blueprints_are_listed_with_where_to_post_jobs(alice: FlaskClient) -> None:
    listed = alice.get("/api/v1/blueprints").json["blueprints"]

    assert [(each["name"], each["url"]) for each in listed] == [("nightly", None), ("video", "/api/v1/jobs/video")]
    assert listed[1]["task_types"] == ["encode"]


def test_a_plan_shows_its_states_and_routing_rules(alice: FlaskClient) -> None:
    plan = alice.get("/api/v1/blueprints/video").json

    assert (plan["name"], plan["plan"], plan["start"]) == ("video", video.plan.plan_hash, "start")
    assert [state["name"] for state in plan["states"]] == list(video.plan.states)
    assert {
        "exchange": "avt.steps",
        "key": f"video@{video.plan.plan_hash}.encode.success",
        "queue": f"steps.video@{video.plan.plan_hash}",
        "targets": ["publish"],
    } in plan["bindings"]
    assert plan["queues"] == [f"steps.video@{video.plan.plan_hash}"]


@pytest.mark.parametrize("suffix", ["", "/graph"])
def test_an_unknown_blueprint_is_answered_with_names_like_it(alice: FlaskClient, suffix: str) -> None:
    body = problem(alice.get(f"/api/v1/blueprints/vidoe{suffix}"), 404, "not_found")

    assert body["detail"] == "no blueprint 'vidoe'; did you mean 'video'?"
    assert body["near"] == ["video"]


def test_a_graph_is_dot(alice: FlaskClient) -> None:
    response = alice.get(GRAPH)

    assert response.status_code == 200
    assert response.content_type == "text/vnd.graphviz; charset=utf-8"
    assert response.text.startswith("digraph")
    assert "publish" in response.text


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/vnd.graphviz; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/vnd.graphviz; charset=utf-8"),
        ("text/html", "text/vnd.graphviz; charset=utf-8"),
        ("application/json", "application/json"),
        ("image/svg+xml,image/png;q=0.5", "image/svg+xml; charset=utf-8"),
        ("image/png", "image/png"),
    ],
)
def test_a_graph_is_what_the_client_accepts(alice: FlaskClient, accept: str, content_type: str) -> None:
    response = alice.get(GRAPH, headers={"Accept": accept})

    assert (response.status_code, response.content_type) == (200, content_type)
    assert "Accept" in response.headers["Vary"]


def test_the_query_goes_before_what_the_client_accepts(alice: FlaskClient) -> None:
    assert alice.get(f"{GRAPH}?format=dot", headers={"Accept": "image/png"}).text.startswith("digraph")


def test_a_picture_may_load_and_run_nothing(alice: FlaskClient) -> None:
    response = alice.get(f"{GRAPH}?format=svg")

    assert "<svg" in response.text
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_png_is_one(alice: FlaskClient) -> None:
    assert alice.get(f"{GRAPH}?format=png").data.startswith(b"\x89PNG")


def test_a_graph_is_nodes_and_edges(alice: FlaskClient) -> None:
    graph = alice.get(f"{GRAPH}?format=json").json

    assert [node["name"] for node in graph["nodes"]] == list(video.plan.states)
    assert {
        "source": "encode",
        "target": "publish",
        "outcome": "success",
        "task_type": "encode",
        "guard": None,
        "via": "task",
    } in graph["edges"]
    assert "path" not in graph


def test_an_unknown_format_is_refused(alice: FlaskClient) -> None:
    body = problem(alice.get(f"{GRAPH}?format=gif"), 422, "invalid_request")

    assert body["errors"] == {"format": ["Must be one of: dot, svg, png, json."]}


def test_without_a_drawing_program_the_answer_says_what_to_install(
    alice: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    body = problem(alice.get(f"{GRAPH}?format=svg"), 501, "settings_error")

    assert "install Graphviz" in body["detail"]
    assert alice.get(GRAPH).status_code == 200


def test_a_drawing_that_fails_tells_nothing_of_the_inside(
    alice: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "dot"
    broken.write_text("#!/bin/sh\necho secret-of-the-inside >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    body = problem(alice.get(f"{GRAPH}?format=svg"), 500, "internal_error")

    assert "secret" not in body["detail"]
    assert "secret-of-the-inside" in caplog.text
    assert body["incident"] in caplog.text


def test_a_live_graph_has_figures_for_operators(operator: FlaskClient, alice: FlaskClient, move: Move) -> None:
    running = created_id(alice)
    move(GoTo("encode"), DispatchTask("encode", {}, transitions={"success": "publish"}))

    live = operator.get(f"{GRAPH}?live=1&format=json").json["live"]

    assert (live["jobs"], live["states"], live["sampled"], live["edges"]) == (1, {"encode": 1}, 0, [])
    assert [(job["id"], job["state"], job["expected_end"]) for job in live["running"]] == [(running, "encode", None)]
    assert {each["queue"] for each in live["queues"]} == {*video.plan.queues, *video.plan.task_types}
    assert "1 job" in operator.get(f"{GRAPH}?live=1").text


def test_a_live_graph_is_for_operators(alice: FlaskClient) -> None:
    assert alice.get(f"{GRAPH}?live=1").status_code == 403
    assert alice.get(f"{GRAPH}?live=soon").status_code == 422
