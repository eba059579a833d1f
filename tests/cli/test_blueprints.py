"""``avtomatika blueprints`` without a server: list, check, routes and graph."""

from __future__ import annotations

import json
from pathlib import Path

from ..support.cli import Run

NO_WAY_OUT = """
from avtomatika import Blueprint

broken = Blueprint(name="broken")

@broken.handler(is_start=True)
def start(actions):
    actions.go_to("nowhere")
"""


def test_check_reports_errors_with_state_and_line(run: Run, project: Path) -> None:
    (project / "blueprints" / "broken.py").write_text(NO_WAY_OUT)

    done = run("blueprints", "check")

    assert done.code == 1
    assert done.stdout.startswith("greetings@")
    assert "blueprint 'broken', state 'start', line 8" in done.stderr
    assert "nowhere" in done.stderr


def test_check_passes_valid_blueprints(run: Run) -> None:
    assert run("blueprints", "check").code == 0


def test_list_prints_a_table_or_json(run: Run) -> None:
    table, data = run("blueprints", "list").stdout, json.loads(run("blueprints", "list", "--json").stdout)

    assert "greetings" in table
    assert [row["name"] for row in data] == ["greetings"]
    assert data[0]["endpoint"] == "/api/v1/jobs/greetings"
    assert data[0]["skills"] == "greet"


def test_routes_show_the_queue_of_each_outcome(run: Run) -> None:
    rules = json.loads(run("blueprints", "routes", "greetings", "--json").stdout)

    (success,) = [rule for rule in rules if rule["routing_key"].endswith(".start.success")]
    assert success["exchange"] == "avt.steps"
    assert success["queue"].startswith("steps.greetings@")
    assert success["next_states"] == "done"


def test_routes_show_the_queue_of_each_task(run: Run) -> None:
    rules = json.loads(run("blueprints", "routes", "greetings", "--json").stdout)

    (task,) = [rule for rule in rules if rule["exchange"] == "avt.tasks"]
    assert (task["routing_key"], task["queue"]) == ("greet", "greet")


def test_routes_show_internal_events_with_all(run: Run) -> None:
    few, all_of_them = (len(run("blueprints", "routes", *more).stdout.splitlines()) for more in ([], ["--all"]))

    assert few < all_of_them


def test_graph_prints_dot(run: Run) -> None:
    done = run("blueprints", "graph", "greetings")

    assert done.stdout.startswith("digraph")
    assert "greet" in done.stdout


def test_graph_writes_svg_and_png_files(run: Run, project: Path) -> None:
    run("blueprints", "graph", "greetings", "--format", "svg", "-o", "graph.svg")
    run("blueprints", "graph", "greetings", "--format", "png", "-o", "graph.png")

    assert "<svg" in (project / "graph.svg").read_text()
    assert (project / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_name_is_not_found_with_a_suggestion(run: Run) -> None:
    done = run("blueprints", "graph", "greeting")

    assert done.code == 4
    assert "did you mean 'greetings'?" in done.stderr


def test_a_missing_folder_is_named(run: Run) -> None:
    done = run("blueprints", "check", "--blueprints", "elsewhere/")

    assert done.code == 2
    assert "no folder 'elsewhere/'" in done.stderr


ONLY_WAVE = (
    "from avtomatika import Worker\nworker = Worker()\n\n@worker.skill\ndef gret(params: dict):\n    return {}\n"
)


def test_check_reports_missing_skills_of_named_workers(run: Run, project: Path) -> None:
    (project / "other.py").write_text(ONLY_WAVE)

    done = run("blueprints", "check", "--worker", "other.py:worker")
    assert done.code == 1
    assert "other.py:worker has no skill 'greet'; did you mean 'gret'?" in done.stderr
    assert run("blueprints", "check", AVTOMATIKA_WORKER="other.py:worker").code == 1
    assert run("blueprints", "check", "--worker", "other.py:worker", "--worker", "worker.py:worker").code == 0


def test_check_only_notes_missing_skills_of_the_default_worker(run: Run, project: Path) -> None:
    (project / "worker.py").write_text(ONLY_WAVE)

    done = run("blueprints", "check")
    assert done.code == 0
    assert "note: blueprint 'greetings', state 'start', line" in done.stderr
