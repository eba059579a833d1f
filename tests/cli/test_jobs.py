"""``avtomatika jobs`` against everything that ``up`` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from ..support.cli import Run, Up, in_process, write_project
from ..support.waiting import wait_until

#: A workflow with an approval.
QUESTIONS = """
from avtomatika import Blueprint

bp = Blueprint(name="questions", api_endpoint="jobs/questions")

@bp.handler(is_start=True)
def ask(actions):
    actions.await_human_approval("mail", "Shall we?", {"approved": "done", "rejected": "failed"})

@bp.handler(is_end=True)
def done(approval):
    return approval

@bp.handler(is_end="failed")
def failed(approval):
    return approval
"""


#: A workflow that waits for a payment.
PAYMENTS = """
from dataclasses import dataclass
from avtomatika import Blueprint

bp = Blueprint(name="payments", api_endpoint="jobs/payments")

@dataclass
class Paid:
    amount: int

@bp.handler(is_start=True)
def ask(actions):
    actions.wait_for("paid", schema=Paid, transitions={"received": "done"})

@bp.handler(is_end=True)
def done(signal_data):
    return signal_data
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One ``up`` for all tests here."""
    folder = write_project(tmp_path_factory.mktemp("jobs") / "project")
    (folder / "blueprints" / "questions.py").write_text(QUESTIONS)
    (folder / "blueprints" / "payments.py").write_text(PAYMENTS)
    everything = Up(folder)
    yield everything.wait_until_ready()
    everything.end()
    everything.kill()


@pytest.fixture
def run(running: Up) -> Run:
    return in_process(running.folder)


@pytest.fixture
def job_id(run: Run) -> str:
    """A finished job."""
    job_id = run("jobs", "submit", "greetings", "name=Ada").stdout.strip()
    run("jobs", "watch", job_id)
    return job_id


def test_submit_prints_the_id_and_nothing_else(run: Run) -> None:
    done = run("jobs", "submit", "greetings", "name=Ada")

    assert done.code == 0
    assert done.stdout.startswith("g0-")
    assert len(done.stdout.split()) == 1


def test_signal_sends_data_once(run: Run) -> None:
    job_id = run("jobs", "submit", "payments").stdout.strip()

    wrong = run("jobs", "signal", job_id, "paid", "amount=3")
    misspelt = run("jobs", "signal", job_id, "payed")
    sent = [run("jobs", "signal", job_id, "paid", "amount:=3", "--idempotency-key", "p-1") for _ in range(2)]
    run("jobs", "watch", job_id)

    assert (wrong.code, misspelt.code) == (2, 4)
    assert "the data of the signal 'paid': amount" in wrong.stderr
    assert wrong.stderr.splitlines()[-1].strip() == "amount=3 is a string; for a number or other JSON write amount:=3"
    assert "no signal 'payed'; did you mean 'paid'?" in misspelt.stderr
    assert [each.code for each in sent] == [0, 0]
    job = json.loads(run("jobs", "show", job_id, "--json").stdout)
    assert (job["status"], job["result"]) == ("finished", {"amount": 3})


def test_submit_takes_text_and_json(run: Run) -> None:
    submitted = run("jobs", "submit", "greetings", "name=Ada", "sizes:=[1, 2]", "--label", "who=me", "--json")

    job = json.loads(run("jobs", "show", json.loads(submitted.stdout)["job_id"], "--json").stdout)

    assert job["initial_data"] == {"name": "Ada", "sizes": [1, 2]}
    assert job["labels"] == {"who": "me"}


def test_wait_prints_the_history_until_the_end(run: Run) -> None:
    done = run("jobs", "submit", "greetings", "name=Ada", "--wait")

    assert done.code == 0
    assert "state_entered" in done.stdout
    assert done.stdout.splitlines()[-1].split()[1] == "job_finished"


def test_a_job_that_failed_is_exit_code_1_with_the_reason(run: Run) -> None:
    done = run("jobs", "submit", "greetings", "name=nobody", "--wait")

    assert done.code == 1
    assert "failed" in done.stderr
    assert "there is nobody to greet" in done.stderr


def test_show_prints_fields_or_json(run: Run, job_id: str) -> None:
    assert "finished" in run("jobs", "show", job_id).stdout
    assert json.loads(run("jobs", "show", job_id, "--json").stdout)["result"] == "hello, Ada"


def test_history_prints_what_happened_in_order(run: Run, job_id: str) -> None:
    table = run("jobs", "history", job_id).stdout
    events = json.loads(run("jobs", "history", job_id, "--json").stdout)["events"]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["event_type"] in table for event in events)


def test_list_is_newest_first_and_filtered_by_options(run: Run, job_id: str) -> None:
    run("jobs", "submit", "greetings", "name=nobody", "--wait")

    jobs = json.loads(run("jobs", "list", "--json").stdout)
    failed = json.loads(run("jobs", "list", "--status", "failed", "--limit", "1", "--json").stdout)

    assert jobs[0]["id"] > job_id
    assert [job["status"] for job in failed] == ["failed"]


def test_labels_are_repeatable_and_other_options_are_not(run: Run) -> None:
    both = run("jobs", "submit", "greetings", "name=Ada", "--label", "a=1", "--label", "b=2").stdout.strip()
    run("jobs", "submit", "greetings", "name=Ada", "--label", "a=1")

    jobs = json.loads(run("jobs", "list", "--label", "a=1", "--label", "b=2", "--json").stdout)
    assert [job["id"] for job in jobs] == [both]
    for given in (["list", "--blueprint", "a", "--blueprint", "b"], ["list", "--limit", "1", "--limit", "2"]):
        done = run("jobs", *given)
        assert (done.code, "2 times" in done.stderr) == (2, True)
    done = run("jobs", "submit", "greetings", "name=Ada", "--label", "a=1", "--label", "a=2")
    assert (done.code, "'a'" in done.stderr) == (2, True)


def test_cancel_stops_the_running_skill(run: Run, running: Up) -> None:
    job_id = run("jobs", "submit", "greetings", "name=sloth").stdout.strip()
    wait_until(lambda: _job(run, job_id)["progress_message"] == "getting up")

    cancelled = run("jobs", "cancel", job_id)
    wait_until((running.folder / "sloth-sleeps").exists)
    wait_until(lambda: _notes(run, job_id))

    assert cancelled.code == 0
    assert _job(run, job_id)["status"] == "cancelled"
    assert [note["event_type"] for note in _notes(run, job_id)] == ["task_result_ignored"]


def test_an_unknown_job_is_exit_code_4(run: Run) -> None:
    assert run("jobs", "show", "g0-01ARZ3NDEKTSV4RRFFQ69G5FAV").code == 4
    assert run("jobs", "submit", "greeting", "name=Ada").code == 4


def test_a_wrong_token_is_exit_code_5(run: Run) -> None:
    done = run("jobs", "list", CLIENT_TOKEN="wrong")

    assert (done.code, done.stdout) == (5, "")


def test_invalid_data_are_usage(run: Run) -> None:
    assert run("jobs", "submit", "greetings", "Ada").code == 2
    assert "invalid JSON" in run("jobs", "submit", "greetings", "sizes:=[1").stderr


def test_every_option_can_be_a_variable(run: Run, job_id: str) -> None:
    jobs = json.loads(run("jobs", "list", AVTOMATIKA_JOBS_LIST_LIMIT="1", AVTOMATIKA_JSON="1").stdout)

    assert len(jobs) == 1


def test_the_token_of_the_folder_is_not_sent_to_another_url(run: Run) -> None:
    done = run("jobs", "list", AVTOMATIKA_URL="http://127.0.0.1:9")

    assert done.code == 2
    assert "CLIENT_TOKEN is not set" in done.stderr


def _job(run: Run, job_id: str) -> Any:
    return json.loads(run("jobs", "show", job_id, "--json").stdout)


def _notes(run: Run, job_id: str) -> Any:
    return json.loads(run("jobs", "history", job_id, "--json").stdout)["notes"]


@pytest.fixture
def asking_id(run: Run, running: Up) -> str:
    """A job that waits for a decision."""
    job_id = run("jobs", "submit", "questions").stdout.strip()
    running.wait_until(lambda: "waiting_for_human" in run("jobs", "show", job_id).stdout)
    return job_id


def test_approve_prints_the_question_and_accepts_the_first_decision(run: Run, running: Up, asking_id: str) -> None:
    asked = run("jobs", "approve", asking_id)
    question = asked.stdout
    decided = run("jobs", "approve", asking_id, "rejected", "--comment", "not today")
    running.wait_until(lambda: "failed" in run("jobs", "show", asking_id).stdout)
    second = run("jobs", "approve", asking_id, "approved")
    late = run("jobs", "approve", asking_id)

    assert "Shall we?" in question
    assert "approved, rejected" in question
    assert f"avtomatika jobs approve {asking_id} DECISION" in asked.stderr
    assert decided.code == 0
    assert json.loads(run("jobs", "show", asking_id, "--json").stdout)["result"] == {
        "decision": "rejected",
        "by": "operator",
        "comment": "not today",
    }
    assert (second.code, late.code) == (1, 1)
    assert "its last decision: rejected by operator" in second.stderr
    assert "the job does not wait for a decision: it is failed" in late.stderr


def test_an_unknown_decision_is_usage(run: Run, asking_id: str) -> None:
    done = run("jobs", "approve", asking_id, "yes")

    assert done.code == 2
    assert "not one of the decisions approved, rejected" in done.stderr


def test_approve_prints_a_link_for_people_without_a_token(run: Run, asking_id: str) -> None:
    link = run("jobs", "approve", asking_id, "--link", "--expires-in", "60").stdout.strip()

    page = requests.get(link, timeout=5)

    assert (page.status_code, "Shall we?" in page.text) == (200, True)


def test_why_prints_what_a_job_waits_for(run: Run, asking_id: str) -> None:
    told = run("jobs", "why", asking_id).stdout.splitlines()
    data = json.loads(run("jobs", "why", asking_id, "--json").stdout)

    assert told[0] == f"{asking_id} is waiting_for_human in 'ask'."
    assert "Shall we? Possible decisions: approved, rejected." in told[1]
    assert [reason["code"] for reason in data["reasons"]] == ["waits_for_human"]


@pytest.fixture
def failed_ids(run: Run) -> list[str]:
    """Three jobs that failed."""
    ids = [run("jobs", "submit", "greetings", "name=nobody", "--label", "to=nobody").stdout.strip() for _ in range(3)]
    for job_id in ids:
        run("jobs", "watch", job_id)
    return ids


def test_many_jobs_are_retried_after_a_preview_and_a_confirmation(run: Run, failed_ids: list[str]) -> None:
    chosen = ("jobs", "retry", "--status", "failed", "--label", "to=nobody", "--since", "1d")

    previewed = run(*chosen, "--dry-run")
    declined = run(*chosen)
    retried = run(*chosen, "--yes")
    again = run(*chosen, "--yes")

    assert (previewed.code, previewed.stdout) == (0, "3 jobs: greetings 3\n")
    assert (declined.code, "Retry?" in declined.stdout) == (1, True)
    assert (retried.code, retried.stderr.splitlines()[-1]) == (0, "3 done, 0 refused")
    assert "%" not in retried.stderr, "a progress bar needs a terminal"
    assert "was already retried as g0-" in again.stderr
    listed = json.loads(run("jobs", "list", "--label", "to=nobody", "--json").stdout)
    assert sorted(job["retry_of"] for job in listed if job["retry_of"] in failed_ids) == sorted(failed_ids)


def test_one_job_or_filters_are_given(run: Run) -> None:
    for given in (["cancel"], ["retry", "g0-1", "--status", "failed"], ["approve"], ["reject", "--dry-run"]):
        done = run("jobs", *given)
        assert (done.code, "give a JOB_ID" in done.stderr) == (2, True), given
    assert run("jobs", "list", "--since", "yesterday").code == 2
    assert run("jobs", "cancel", "--status", "finished", "--yes").code == 2


def test_a_job_is_retried_from_the_state_in_which_it_failed(run: Run, failed_ids: list[str]) -> None:
    again = run("jobs", "retry", failed_ids[0]).stdout.strip()

    assert json.loads(run("jobs", "show", again, "--json").stdout)["retry_of"] == failed_ids[0]


def test_many_approvals_are_decided(run: Run, asking_id: str) -> None:
    rejected = json.loads(run("jobs", "reject", "--state", "ask", "--yes", "--json").stdout)

    assert rejected["done"] >= 1
    run("jobs", "watch", asking_id)
    assert json.loads(run("jobs", "show", asking_id, "--json").stdout)["result"]["decision"] == "rejected"


def test_waiting_has_a_time_limit(run: Run, asking_id: str) -> None:
    done = run("jobs", "watch", asking_id, "--timeout", "0.1")

    assert (done.code, "it has not ended in time" in done.stderr) == (1, True)
