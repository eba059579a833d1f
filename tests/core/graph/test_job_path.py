"""The path of a job, laid over its graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

from avtomatika.core.graph.dot import digraph, dot
from avtomatika.core.graph.job_path import JobPath
from avtomatika.core.job import Branches, HistoryEntry, Job, JobStatus, RecordedEntry
from avtomatika.drawing import draw

from ..conftest import ORDER

PLAN = ORDER.plan
PICTURE = Path(__file__).resolve().parents[3] / "docs" / "order.svg"


def path_of(entries: Sequence[tuple[int, HistoryEntry]], now_ms: int | None = None, **job: Any) -> JobPath:
    recorded = [RecordedEntry(seq, seq, at, entry) for seq, (at, entry) in enumerate(entries, 1)]
    return JobPath.of(PLAN, Job("g0-1", "order", PLAN.plan_hash, **job), recorded, now_ms=now_ms)


def entered(at: int, state: str) -> tuple[int, HistoryEntry]:
    return at, HistoryEntry("state_entered", state)


def left(at: int, state: str, outcome: str, target: str) -> tuple[int, HistoryEntry]:
    return at, HistoryEntry("task_succeeded", state, data={"outcome": outcome, "go_to": target})


ROUND = [
    entered(1000, "check"),
    left(3000, "check", "sold_out", "reorder"),
    entered(3000, "reorder"),
    (3_603_000, HistoryEntry("timer_fired", "reorder", data={"go_to": "check"})),
    entered(3_603_000, "check"),
    left(3_604_000, "check", "success", "pay"),
    entered(3_604_000, "pay"),
]


def drawn(path: JobPath) -> dict[str, str]:
    """Return the lines of DOT by their element: a state, or ``source > target outcome``."""
    source = digraph(PLAN, overlay=path)
    names = {f"n{number}": state for number, state in enumerate(PLAN.states, start=1)}
    found = {}
    for line in source.body:
        if edge := re.match(r"\t(n\d+) -> (n\d+) \[label=\"?([^\"\\ ]*)", line):
            found[f"{names[edge[1]]} > {names[edge[2]]} {edge[3]}".strip()] = line
        elif (node := re.match(r"\t(n\d+) ", line)) and "->" not in line:
            found[names[node[1]]] = line
    return found


def test_is_told_by_the_history() -> None:
    path = path_of(ROUND, current_state="pay", status=JobStatus.WAITING_FOR_CHILD)

    assert path.states == ("check", "reorder", "check", "pay")
    assert path.present == "pay"


def test_ends_with_a_state_that_is_not_entered_yet() -> None:
    assert path_of(ROUND[:2], current_state="reorder").states == ("check", "reorder")
    assert path_of([], current_state="check").states == ("check",)


def test_tells_how_long_it_was_where() -> None:
    path = path_of(ROUND, now_ms=3_614_000, current_state="pay", status=JobStatus.WAITING_FOR_CHILD)

    assert path.spent_ms("check") == 3000
    assert path.spent_ms("reorder") == 3_600_000
    assert path.spent_ms("pay") == 10_000, "and counting"
    assert path.spent_ms("sent") is None


def test_stands_out_and_the_rest_steps_back() -> None:
    lines = drawn(path_of(ROUND, now_ms=3_614_000, current_state="pay", status=JobStatus.WAITING_FOR_CHILD))

    assert "fde68a" in lines["pay"]
    assert r"\n10 s" in lines["pay"]
    assert r"\n2 times, 3.0 s" in lines["check"]
    assert r"sold_out\n2.0 s" in lines["check > reorder sold_out"]
    assert "penwidth=2.5" in lines["check > pay success"]
    assert "penwidth" not in lines["check > failed failure"]
    assert "penwidth" not in lines["sent"]


def test_counts_branches() -> None:
    entries = [
        entered(0, "pack"),
        *((100 * n, HistoryEntry("branch_finished", "pack", data={"outcome": "success"})) for n in range(7)),
    ]
    path = path_of(
        entries,
        current_state="pack",
        status=JobStatus.WAITING_FOR_PARALLEL,
        fan_out=Branches(1, "pack", "label", size=12, sent=12),
    )

    assert path.branches("pack") == (7, 12)
    assert "7 of 12 branches" in drawn(path)["pack"]


def test_a_time_out_without_a_way_of_its_own_goes_along_the_failure() -> None:
    late = HistoryEntry("task_timed_out", "check", data={"which": "result", "go_to": "failed"})
    path = path_of([entered(0, "check"), (9, late), entered(9, "failed")], current_state="failed")

    assert [edge for edge, _ in path.taken] == [("check", "failed", "failure")]


def test_a_quarantined_job_shows_where_it_rests() -> None:
    path = path_of([entered(0, "check")], current_state="check", status=JobStatus.QUARANTINED)

    assert "fecaca" in drawn(path)["check"]
    assert path.title == ("g0-1", "quarantined")


def test_the_picture_of_the_guide_shows_a_job_as_it_is_drawn_now() -> None:
    entries = [
        *ROUND,
        (3_690_000, HistoryEntry("child_finished", "pay", data={"status": "finished", "go_to": "review"})),
        (3_690_000, HistoryEntry("state_entered", "review", data={"go_to": "pack"})),
        entered(3_690_000, "pack"),
        *(
            (3_690_000 + 400 * n, HistoryEntry("branch_finished", "pack", data={"outcome": "success"}))
            for n in range(7)
        ),
    ]
    path = path_of(
        entries,
        3_694_000,
        current_state="pack",
        created_ms=1000,
        status=JobStatus.WAITING_FOR_PARALLEL,
        fan_out=Branches(4, "pack", "label", size=12, sent=12),
    )

    picture = draw(dot(PLAN, overlay=path), "svg").decode()

    assert words(PICTURE.read_text()) == words(picture)


def words(picture: str) -> list[str]:
    return sorted(unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture))
