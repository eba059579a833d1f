"""Attacks with write access to the broker, but without the group's secret and without a worker's token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest

from avtomatika.broker import forwarded_headers, result_message
from avtomatika.core.events import Decision, Enter, Event, Result, Start, TaskTimeout, TimeReached
from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.schemas import wire

from ..support.waiting import wait_until
from .installation import PLANTED, WORKERS_TOML, Installation


@pytest.fixture
def job_id(installation: Installation) -> Iterator[str]:
    """Create a job that waits for a worker with the skill ``drive``."""
    job_id = installation.create("ride")
    installation.until_status(job_id, "waiting_for_worker")
    yield job_id
    installation.client("POST", f"/api/v1/jobs/{job_id}/cancel")


def forged_letters(installation: Installation, job_id: str, blueprint: str = "ride") -> list[str]:
    """Return the errors of dead letters that name *job_id*."""
    return [letter["error"] for letter in installation.dead_letters(blueprint) if job_id in letter["error"]]


FORGED: dict[str, tuple[Callable[[str], Event], str]] = {
    "start": (lambda job_id: Start(job_id), "_start"),
    "enter": (lambda job_id: Enter(job_id, "home", 1), "_enter"),
    "approval": (lambda job_id: Decision(job_id, "token", "approved", "the boss"), "_approval"),
    "timer": (lambda job_id: TimeReached(job_id, "token"), "_timer"),
    "timeout": (lambda job_id: TaskTimeout(job_id, f"{job_id}.1.0", 1, "dispatch"), "_timeout"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_event_moves_nothing_and_is_seen(installation: Installation, job_id: str, name: str) -> None:
    make, outcome = FORGED[name]
    before = installation.job(job_id)

    installation.publish(
        "avt.steps", installation.blueprint("ride").plan.key("start", outcome), wire.dump_event(make(job_id))
    )
    wait_until(lambda: forged_letters(installation, job_id))

    assert "does not carry the group's signature" in forged_letters(installation, job_id)[0]
    assert installation.job(job_id) == before
    assert installation.notes(job_id) == []


def test_a_forged_timer_that_is_due_moves_nothing(installation: Installation, job_id: str) -> None:
    key = installation.blueprint("ride").plan.key("start", "_timeout")
    due = wire.DueTimer("avt.steps", key, wire.dump_event(TaskTimeout(job_id, f"{job_id}.1.0", 1, "dispatch")))
    before = installation.job(job_id)

    installation.publish("avt.timers", "avt.timers", wire.dump_due_timer(due))
    wait_until(lambda: forged_letters(installation, job_id))

    assert installation.job(job_id) == before


def test_a_worker_cannot_approve_a_human_step(installation: Installation) -> None:
    """Neither with an event, a signed event, a result with that outcome, nor through the API."""
    job_id = installation.create("errand")
    before = installation.until_status(job_id, "waiting_for_human")
    plan = installation.blueprint("errand").plan
    key = WorkerKey(mac_key_of(PLANTED["honest"]))
    result = Result(job_id, f"{job_id}.1.0", 1, "approved", {}, worker_id="honest")

    event = wire.dump_event(Decision(job_id, "token", "approved", "honest"))
    installation.publish("avt.steps", plan.key("ask", "_approval"), event)
    installation.publish("avt.steps", plan.key("ask", "_approval"), key.signed(event.encode()).decode())
    installation.publish("avt.steps", plan.key("ask", "_approval"), wire.dump_result(result, ticket="", signer=key))
    wait_until(lambda: len(forged_letters(installation, job_id, "errand")) == 3)

    path = f"/api/v1/jobs/{job_id}/approve"
    by_api = installation.client("POST", path, token=PLANTED["honest"], json={"decision": "approved"})

    assert by_api.status_code == 401
    assert installation.job(job_id) == before
    assert installation.client("POST", path, json={"decision": "approved"}).status_code == 200
    installation.until_status(job_id, "finished")


def test_a_result_of_who_never_got_the_task_is_refused(installation: Installation, job_id: str) -> None:
    key = WorkerKey(mac_key_of(PLANTED["honest"]))
    result = Result(job_id, f"{job_id}.1.0", 1, "success", {}, worker_id="honest")
    before = installation.job(job_id)

    installation.publish(
        "avt.steps",
        installation.blueprint("ride").plan.key("start", "success"),
        wire.dump_result(result, ticket="0" * 32, signer=key),
    )
    wait_until(lambda: forged_letters(installation, job_id))

    assert "ticket" in forged_letters(installation, job_id)[0]
    assert installation.job(job_id) == before


def test_a_ticket_of_an_old_attempt_opens_no_later_one(installation: Installation, job_id: str) -> None:
    key = WorkerKey(mac_key_of(PLANTED["honest"]))
    first = installation.take("drive")
    task = wire.load_task(first.body)
    failed = Result(job_id, task.task_id, 1, "failure", None, {"code": "TRANSIENT_ERROR"}, worker_id="honest")
    sent = result_message(task, failed, headers=forwarded_headers(first.headers), signer=key)
    installation.publish(sent.exchange, sent.routing_key, sent.body, **sent.headers)
    wait_until(lambda: "task_retried" in installation.events(job_id))

    later = Result(job_id, task.task_id, 2, "success", {}, worker_id="honest")
    body = wire.dump_result(later, ticket=task.ticket, signer=key)
    installation.publish(sent.exchange, sent.routing_key.replace("failure", "success"), body)
    wait_until(lambda: forged_letters(installation, job_id))

    assert "ticket" in forged_letters(installation, job_id)[0]
    assert installation.job(job_id)["status"] == "waiting_for_worker"


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_result_that_another_has_signed_is_refused_and_the_task_done_again(
    installation: Installation, job_id: str, name: str
) -> None:
    """The attacker took the task from the queue and has its ticket."""
    taken = installation.take("drive")
    task = wire.load_task(taken.body)
    result = Result(job_id, task.task_id, task.attempt, "success", {}, worker_id="honest")
    sent = result_message(
        task, result, headers=forwarded_headers(taken.headers), signer=WorkerKey(mac_key_of(PLANTED[name]))
    )

    installation.publish(sent.exchange, sent.routing_key, sent.body, **sent.headers)
    wait_until(lambda: "task_retried" in installation.events(job_id))

    assert "did not sign it with its token" in str(installation.job(job_id)["error"])
    assert installation.notes(job_id)[0]["event_type"] == "task_result_ignored"


def test_a_result_of_a_skill_that_its_worker_may_not_do_is_refused(installation: Installation, job_id: str) -> None:
    """The worker took the task from the queue, has its ticket, and claims another skill."""
    taken = installation.take("drive")
    task = wire.load_task(taken.body)
    result = Result(job_id, task.task_id, task.attempt, "success", {}, worker_id="bounded")
    body = json.loads(wire.dump_result(result, ticket=task.ticket)) | {"task_type": "carry"}
    text = json.dumps(body, separators=(",", ":")).encode()

    key = installation.blueprint("ride").plan.key("start", "success")
    signed = WorkerKey(mac_key_of(PLANTED["bounded"])).signed(text).decode()
    installation.publish("avt.steps", key, signed, **forwarded_headers(taken.headers))
    wait_until(lambda: "task_retried" in installation.events(job_id))

    assert "worker 'bounded' is not granted the skill 'drive'" in str(installation.job(job_id)["error"])
    assert installation.notes(job_id)[0]["event_type"] == "task_result_ignored"


def test_a_worker_that_loses_a_skill_while_it_runs_answers_in_vain_until_it_has_it_again(
    installation: Installation,
) -> None:
    """The file is reloaded within a second, and the job takes another."""
    less = WORKERS_TOML.replace(f'"{PLANTED["honest"]}"\n', f'"{PLANTED["honest"]}"\nskills = ["drive"]\n')
    for text, answered in ((less, "task_retried"), (WORKERS_TOML, "task_succeeded")):
        installation.write_workers(text)
        written_at = monotonic()
        while True:
            job_id, begun_at = installation.create("errand"), monotonic()
            wait_until(lambda job_id=job_id: {"task_retried", "task_succeeded"} & {*installation.events(job_id)})
            if answered in installation.events(job_id):
                break
            assert begun_at - written_at < 2

        assert ("task_result_ignored" in [note["event_type"] for note in installation.notes(job_id)]) is (text == less)


@pytest.mark.faults
def test_a_worker_that_is_revoked_takes_nothing_more_until_it_is_let_in_again(installation: Installation) -> None:
    lines = f'[honest]\ntoken = "{PLANTED["honest"]}"\n'
    assert lines in WORKERS_TOML
    installation.write_workers(WORKERS_TOML.replace(lines, ""))
    wait_until(lambda: "reject this worker" in (installation.folder / "worker.log").read_text())

    job_id = installation.create("errand")
    installation.until_status(job_id, "waiting_for_worker")
    sleep(2)  # several heartbeats
    waits = installation.events(job_id)
    installation.write_workers(WORKERS_TOML)
    installation.until_status(job_id, "waiting_for_human")

    assert "task_taken" not in waits
    assert "task_retried" not in installation.events(job_id)


def test_the_honest_worker_is_believed_all_the_while(installation: Installation) -> None:
    job_id = installation.create("errand")

    installation.until_status(job_id, "waiting_for_human")

    assert "task_succeeded" in installation.events(job_id)
    assert installation.are_all_alive
