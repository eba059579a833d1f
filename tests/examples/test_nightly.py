"""The example ``nightly``."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from avtomatika import TransientError
from avtomatika.testing import run

from ..support.examples import EXAMPLES, blueprints_of, run_example, worker_of


def test_the_reports_of_past_nights_have_the_sales_of_the_day_before(tmp_path: Path) -> None:
    said = run_example("nightly", tmp_path / "copy")

    totals: Counter[str] = Counter()
    with open(EXAMPLES / "nightly" / "sales.csv", newline="") as file:
        for row in csv.DictReader(file):
            totals[row["day"]] += int(row["amount"])
    reports = {each.stem: each.read_text().split() for each in (tmp_path / "copy" / "reports").iterdir()}
    assert {day: int(words[-1]) for day, words in reports.items()} == totals
    assert said.count("finished, 1 retry") == len(totals)


def test_a_database_that_stays_away_raises_an_alarm_after_a_minute() -> None:
    alerts: list[str] = []
    skills = {
        **worker_of("nightly").skills,
        "read_sales": TransientError("away"),
        "alert": lambda params: alerts.append(params["text"]),
    }

    job = run(blueprints_of("nightly")["report"], {"scheduled_at": "2026-10-26T01:30:00Z"}, skills=skills)

    assert (job.status, job.result, job.seconds > 30) == ("failed", {"day": "2026-10-25"}, True)
    assert len(alerts) == 1
