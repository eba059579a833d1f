"""``avtomatika blueprints``: what is wrong, and what comes out, without any server."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Run

NO_WAY_OUT = """
from avtomatika import Blueprint

broken = Blueprint(name="broken")

@broken.handler(is_start=True)
def start(actions):
    actions.go_to("nowhere")
"""


def test_check_names_the_good_and_refuses_the_bad_with_state_and_line(run: Run, project: Path) -> None:
    (project / "blueprints" / "broken.py").write_text(NO_WAY_OUT)

    done = run("blueprints", "check")

    assert done.code == 1
    assert done.stdout.startswith("greetings@")
    assert "blueprint 'broken', state 'start', line 8" in done.stderr
    assert "nowhere" in done.stderr


def test_check_is_content_with_good_ones(run: Run) -> None:
    assert run("blueprints", "check").code == 0


def test_list_gives_a_table_to_people_and_json_to_programs(run: Run) -> None:
    table, data = run("blueprints", "list").stdout, json.loads(run("blueprints", "list", "--json").stdout)

    assert "greetings" in table
    assert [row["name"] for row in data] == ["greetings"]
    assert data[0]["endpoint"] == "/api/v1/jobs/greetings"
    assert data[0]["skills"] == "greet"


def test_routes_lead_every_outcome_to_the_queue_of_the_next_state(run: Run) -> None:
    rules = json.loads(run("blueprints", "routes", "greetings", "--json").stdout)

    (success,) = [rule for rule in rules if rule["routing_key"].endswith(".start.success")]
    assert success["exchange"] == "avt.steps"
    assert success["queue"].startswith("steps.greetings@")
    assert success["next_states"] == "done"


def test_routes_lead_every_task_to_the_queue_of_its_skill(run: Run) -> None:
    rules = json.loads(run("blueprints", "routes", "greetings", "--json").stdout)

    (task,) = [rule for rule in rules if rule["exchange"] == "avt.tasks"]
    assert (task["routing_key"], task["queue"]) == ("greet", "greet")


def test_routes_show_the_events_of_states_when_all_are_asked_for(run: Run) -> None:
    few, all_of_them = (len(run("blueprints", "routes", *more).stdout.splitlines()) for more in ([], ["--all"]))

    assert few < all_of_them


def test_the_graph_is_dot_on_standard_output(run: Run) -> None:
    done = run("blueprints", "graph", "greetings")

    assert done.stdout.startswith("digraph")
    assert "greet" in done.stdout


def test_the_graph_can_be_a_picture_in_a_file(run: Run, project: Path) -> None:
    run("blueprints", "graph", "greetings", "--format", "svg", "-o", "graph.svg")
    run("blueprints", "graph", "greetings", "--format", "png", "-o", "graph.png")

    assert "<svg" in (project / "graph.svg").read_text()
    assert (project / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_name_is_not_found_and_a_like_one_offered(run: Run) -> None:
    done = run("blueprints", "graph", "greeting")

    assert done.code == 4
    assert "did you mean 'greetings'?" in done.stderr


def test_no_folder_is_said_plainly(run: Run) -> None:
    done = run("blueprints", "check", "--blueprints", "elsewhere/")

    assert done.code == 2
    assert "no folder 'elsewhere/'" in done.stderr


ONLY_WAVE = (
    "from avtomatika import Worker\nworker = Worker()\n\n@worker.skill\ndef gret(params: dict):\n    return {}\n"
)


def test_check_names_skills_that_the_named_workers_do_not_have(run: Run, project: Path) -> None:
    (project / "other.py").write_text(ONLY_WAVE)

    done = run("blueprints", "check", "--worker", "other.py:worker")
    assert done.code == 1
    assert "other.py:worker has no skill 'greet'; did you mean 'gret'?" in done.stderr
    assert run("blueprints", "check", AVTOMATIKA_WORKER="other.py:worker").code == 1
    assert run("blueprints", "check", "--worker", "other.py:worker", "--worker", "worker.py:worker").code == 0


def test_check_only_notes_what_the_worker_of_the_folder_does_not_have(run: Run, project: Path) -> None:
    (project / "worker.py").write_text(ONLY_WAVE)

    done = run("blueprints", "check")
    assert done.code == 0
    assert "note: blueprint 'greetings', state 'start', line" in done.stderr
