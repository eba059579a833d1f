"""The page of schedules, for operators: what runs next and how the last job ended, and buttons."""

from __future__ import annotations

from dataclasses import replace

from flask.testing import FlaskClient

from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN
from .conftest import hidden, log_in


def test_schedules_are_listed_run_paused_and_resumed(browser: FlaskClient, store: Store) -> None:
    schedule = Schedule(name="report", blueprint="nightly", daily_at="07:00", timezone="Asia/Kolkata")
    record = ScheduleRecord(schedule=schedule, source="code").defined(schedule, "code", store.clock.now_ms())
    assert store.schedules.write(record, replace(record, error="<b>refused</b>", skipped=3))
    log_in(browser, OPERATOR_TOKEN)
    first = browser.get("/schedules")
    token = {"csrf_token": hidden(first, "csrf_token")}

    refused = browser.post("/schedules/report/pause")
    browser.post("/schedules/report/pause", data=token)
    paused = browser.get("/schedules").text
    browser.post("/schedules/report/resume", data=token)
    ran = browser.post("/schedules/report/run", data=token)
    last = browser.get("/schedules").text

    assert refused.status_code == 403
    assert first.text.count("07:00:00 IST</time>") == 2
    assert "&lt;b&gt;refused&lt;/b&gt;" in first.text
    assert 'aria-label="Pause report"' in first.text
    assert 'aria-label="Resume report"' in paused
    assert "07:00:00" not in paused
    job_id = store.schedules.get("report").last_job_id
    assert ran.location == f"/jobs/{job_id}"
    assert f'href="/jobs/{job_id}"' in last


def test_without_schedules_the_page_says_how_to_add_one(browser: FlaskClient, alice: FlaskClient) -> None:
    log_in(browser, OPERATOR_TOKEN)
    assert "avtomatika schedules add" in browser.get("/schedules").text

    log_in(browser, "token-of-alice-in-tests")
    assert browser.get("/schedules").status_code == 403
