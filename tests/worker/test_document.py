"""Run the examples of docs/workers.md."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from avtomatika import Blueprint, Worker
from avtomatika.testing import run

from ..support.documents import ROOT, section

PAGE = ROOT / "docs" / "workers.md"
bp = Blueprint(name="any")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task(initial_data["skill"], initial_data, transitions={"success": "end"})


@bp.handler(is_end=True)
def end(state_history: dict[str, Any]) -> dict[str, Any]:
    return dict(state_history)


def worker_of(*headings: str) -> Worker:
    """Return the worker that the Python blocks of these sections define."""
    scope: dict[str, Any] = {"worker": Worker()}
    for heading in headings:
        for block in re.findall(r"^```python\n(.*?)^```$", section(PAGE, heading), re.MULTILINE | re.DOTALL):
            exec(compile(block, heading, "exec"), scope)  # noqa: S102 - it is our own page
    worker: Worker = scope["worker"]
    return worker


def test_the_skill_set_is_included_with_its_prefix_and_the_middleware_logs_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = worker_of("Skill sets and middleware")

    with caplog.at_level(logging.INFO):
        ended = run(bp, {"skill": "number-double", "number": 21}, skills=worker)

    assert ended.result == {"number": 42}
    assert re.search(r"number-double took \d\.\d{3} s", caplog.text)


def test_the_skill_with_batches_answers_each_task() -> None:
    class Model:
        def encode(self, texts: list[str]) -> Any:
            class Vector(list[float]):
                tolist = list[float].copy

            return [Vector([len(text)]) for text in texts]

    worker = worker_of("Batches")
    worker.skills["embed"].function.__globals__["model"] = Model()

    short = Blueprint(name="short")

    @short.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("embed", {"text": "four"}, transitions={"success": "end"})

    short.handler("end", is_end=True)(end)

    assert run(short, skills=worker).result == {"vector": [4]}


def test_the_skill_that_reports_progress_finishes() -> None:
    ended = run(bp, {"skill": "thumbnails", "names": ["a", "b"]}, skills=worker_of("Progress"))

    assert ended.status == "finished"


def test_the_skill_that_checks_for_cancellation_finishes() -> None:
    ended = run(bp, {"skill": "render", "frames": 3}, skills=worker_of("Cancellation"))

    assert ended.status == "finished"
