"""Plan -> DOT: valid for every renderer, and independent of names."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.graph.dot import digraph, dot, edges_of
from avtomatika.core.plan import Plan, StatePlan, Transition

from ..conftest import ORDER

RENDERER = Path(sys.executable).with_name("graphviz-pure")


def svg(source: str) -> str:
    """Return *source* as a renderer draws it; raise an error if it is not valid DOT."""
    done = subprocess.run([RENDERER, "-Tsvg"], input=source, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "syntax error" not in done.stderr
    return done.stdout


def texts(source: str) -> list[str]:
    """Every piece of text in the rendered picture."""
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg(source))]


def test_shows_states_outcomes_tasks_and_queues(plan: Plan) -> None:
    shown = texts(dot(plan))

    assert {"video", "start", "encode", "review", "publish", "failed"} <= set(shown)
    assert {"success", "failure", "needs_review", "timeout", "cancelled"} <= set(shown)
    assert "task: encode, encode_fast" in shown
    assert "queue: heavy" in shown


def test_draws_every_transition_once(plan: Plan) -> None:
    edges = [line for line in digraph(plan).body if "->" in line]

    transitions = {(source, edge.target, edge.outcome) for source, edge in plan.edges()}
    assert len(edges) == len(transitions) + 1  # the start's


def test_shows_the_conditions_of_a_way_that_is_not_open_to_all() -> None:
    bp = Blueprint("shop")

    @bp.handler("pack", F.initial_data.size > 9, is_start=True)
    def large(actions: Any) -> None:
        actions.dispatch_task("crate", transitions={"success": "done", "bent": "pack"})

    @bp.handler("pack")
    def small(actions: Any) -> None:
        actions.dispatch_task("box", transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done() -> None: ...

    shown = texts(dot(bp.plan))
    assert shown.count("[size > 9]") == 1
    assert shown.count("success") == 1


def test_shows_what_no_worker_does() -> None:
    shown = texts(dot(ORDER.plan))

    assert {"runs: payment", "asks a person", "waits for a time", "collects branches"} <= set(shown)
    assert {"approved", "rejected", "timeout", "when it has come", "[total > 1000]"} <= set(shown)


def test_an_edge_by_which_branches_come_has_two_heads() -> None:
    drawn = digraph(ORDER.plan)

    (collected,) = (edge for edge in edges_of(ORDER.plan) if edge.is_collected)
    assert (collected.source, collected.target) == ("pack", "label")
    assert sum("normalnormal" in line for line in drawn.body) == 1


def test_names_tasks_that_are_chosen_at_run_time() -> None:
    plan = made_by_hand(StatePlan("a", is_start=True, dispatches=True, transitions=(Transition("a", "success"),)))

    assert "task: chosen at run time" in texts(dot(plan))


@pytest.mark.parametrize(
    "hostile",
    [
        'a"]; evil [label="x',
        "<b>bold</b>",
        "back\\slash",
        "ends with \\",
        r"\N \G \E",
        "two\nlines",
        "nul\0byte",
        "&amp; <svg>",
        "größer als Ω",
    ],
)
def test_text_of_users_is_text_and_nothing_else(hostile: str) -> None:
    edge = Transition("a", "success", guard=hostile)
    plan = made_by_hand(StatePlan("a", is_start=True, dispatches=True, transitions=(edge,)))

    shown = texts(dot(plan))

    flat = "".join(character if character.isprintable() else " " for character in hostile)
    assert f"[{flat}]" in shown
    assert "evil" not in shown
    assert "URL" not in dot(plan)


def test_long_conditions_are_cut() -> None:
    edge = Transition("a", "success", guard="x" * 200)
    plan = made_by_hand(StatePlan("a", is_start=True, transitions=(edge,)))

    assert max(len(text) for text in texts(dot(plan))) < 50


def made_by_hand(*states: StatePlan) -> Plan:
    return Plan("shop", "00000000", states[0].name, {state.name: state for state in states}, bindings=())


def test_shows_the_blueprints_of_child_branches() -> None:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def split(actions: Any) -> None:
        actions.run_blueprints([{"blueprint": "thumb"}, {"blueprint": "poster"}], aggregate_into="mix")

    @bp.aggregator
    def mix(names: list[str], actions: Any) -> None:
        thumbs = [{"blueprint": "thumb", "initial_data": {"name": name}} for name in names]
        actions.dispatch_parallel([*thumbs, *[{"task_type": "greet"}]], aggregate_into="collect")

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    shown = texts(dot(bp.plan))

    assert {"runs: poster, thumb", "runs: thumb", "task: greet", "collects branches"} <= set(shown)
    assert "task: chosen at run time" not in shown
