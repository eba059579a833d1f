"""The example ``inference``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from avtomatika.testing import run

from ..support.examples import blueprints_of, run_example, worker_of


def test_questions_share_calls_of_the_model_and_the_agent_asks_a_person(tmp_path: Path) -> None:
    said = run_example("inference", tmp_path / "copy", passing=r"\d+ calls")

    answers = re.search(r"(\d+) of 32 questions are answered, by (\d+) calls", said)
    assert answers is not None
    assert int(answers[2]) < int(answers[1])
    assert (tmp_path / "copy" / "refunds.txt").read_text() == "Ada 40\n"


@pytest.mark.parametrize(
    ("amount", "decision", "said"),
    [
        (100, None, "Dear customer, 100 were refunded."),
        (101, "approved", "Dear customer, 101 were refunded."),
        (101, "rejected", "Dear customer, we cannot refund that."),
    ],
)
def test_the_agent_refunds_what_it_may(
    amount: int, decision: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    approvals: dict[str, Any] = {} if decision is None else {"check_tool": decision}

    job = run(
        blueprints_of("inference")["agent"],
        {"customer": "Ada", "text": f"a refund of {amount}"},
        skills=worker_of("inference"),
        approvals=approvals,
    )

    assert (job.status, job.result) == ("finished", said)
    assert (tmp_path / "refunds.txt").exists() == (decision != "rejected")
