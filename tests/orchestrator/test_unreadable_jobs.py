"""Jobs that an orchestrator cannot read, and oversized texts, beside other jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis

from avtomatika import Blueprint
from avtomatika.core.plan import WEBHOOKS
from avtomatika.core.texts import MAX_MESSAGE, MAX_TRACEBACK

from ..support.orchestrators import Stage

bp = Blueprint(name="quick")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    if initial_data.get("quick"):
        actions.go_to("end")
    else:
        actions.dispatch_task("dig", {}, transitions={"success": "end"})


@bp.handler(is_end=True)
def end() -> None: ...


def test_events_of_a_job_that_cannot_be_read_wait_and_then_become_dead_letters(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    house.orchestrator()
    bad = house.create(bp)
    house.turn_until_status(bad, "waiting_for_worker")
    with redis.Redis.from_url(house.url) as client:
        good_doc = client.hget(f"{{avt.g0}}:job:{bad}", "doc")
        client.hset(f"{{avt.g0}}:job:{bad}", "doc", orjson.dumps({**orjson.loads(good_doc), "tasks": [{"later": 1}]}))
        house.answer(house.take_task("dig"))
        good = [house.create(bp, quick=True) for _ in range(3)]
        for job_id in good:
            house.turn_until_status(job_id, "finished")
        house.turn_until(lambda: house.store.queues.dead(limit=10))

        [letter] = house.store.queues.dead(limit=10)
        assert client.hget(f"{{avt.g0}}:job:{bad}", "status") == b"quarantined"
        client.hset(f"{{avt.g0}}:job:{bad}", "doc", good_doc)
    assert letter.letter.reason == "unreadable job"

    house.store.signal(house.job(bad), "retry", by="me")  # once a version that can read it runs

    house.turn_until_status(bad, "waiting_for_worker")
    house.answer(house.take_task("dig"))
    house.turn_until_status(bad, "finished")


def test_operators_are_notified_of_a_job_that_cannot_be_read(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    house.orchestrator(notifies=True)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    with redis.Redis.from_url(house.url) as client:
        client.hset(f"{{avt.g0}}:job:{job_id}", "doc", "no JSON")
        house.answer(house.take_task("dig"))
        house.turn_until(lambda: house.store.queues.dead(limit=10))

        [message] = house.store.queues.peek(WEBHOOKS, limit=10)
        client.delete(f"{{avt.g0}}:job:{job_id}")
    notice = orjson.loads(message.letter.body)
    assert (notice["event"], notice["url"], notice["job"]["id"]) == ("job.quarantined", "", job_id)
    assert notice["job"]["error"]["code"] == "UNREADABLE_RECORD"


def test_a_job_with_a_key_of_another_type_is_quarantined(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    with redis.Redis.from_url(house.url) as client:
        client.delete(f"{{avt.g0}}:job:{job_id}:tasks")
        client.set(f"{{avt.g0}}:job:{job_id}:tasks", "foreign")
        house.answer(house.take_task("dig"))
        house.turn_until_status(job_id, "quarantined")

        [letter] = house.store.queues.dead(limit=10)
        assert f"WRONGTYPE {{avt.g0}}:job:{job_id}:tasks" in letter.letter.error
        client.delete(f"{{avt.g0}}:job:{job_id}:tasks")


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "half of \ud83d", "é" * 3_000_000], ids=["long", "surrogate", "wide"]
)
def test_texts_of_exceptions_are_shortened(stage: Callable[..., Stage], text: str) -> None:
    loud = Blueprint(name="loud")

    @loud.handler(is_start=True)
    def start(actions: Any) -> None:
        if text:
            raise ValueError(text)
        actions.go_to("end")

    @loud.handler(is_end=True)
    def end() -> None: ...

    house = stage(loud)
    house.orchestrator()
    job = house.turn_until_status(house.create(loud), "error")

    assert job.error is not None
    assert len(job.error["message"]) < MAX_MESSAGE + 100
    assert len(job.error["traceback"]) < MAX_TRACEBACK + 100
    assert size_of_history(house, job.id) < 500_000


def test_values_in_errors_of_handlers_are_shortened(stage: Callable[..., Stage]) -> None:
    wrong = Blueprint(name="wrong")

    @wrong.handler(is_start=True)
    def start(actions: Any) -> None:
        wrong_time: Any = "x" * 3_000_000
        actions.wait(wrong_time, then="end")

    @wrong.handler(is_end=True)
    def end() -> None: ...

    house = stage(wrong)
    house.orchestrator()
    job = house.turn_until_status(house.create(wrong), "error")

    assert size_of_history(house, job.id) < 100_000


def test_errors_that_workers_report_are_shortened(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    error = {
        "code": "PERMANENT_ERROR",
        "message": "m" * 1_000_000,
        "traceback": "t" * 1_000_000,
        "input": {"path": "p" * 1_000_000},
        "line": 5,
    }
    house.answer(house.take_task("dig"), status="failure", error=error)

    job = house.turn_until_status(job_id, "quarantined")

    assert job.error is not None
    assert (job.error["code"], job.error["line"]) == ("PERMANENT_ERROR", 5)
    assert size_of_history(house, job.id) < 200_000


@pytest.mark.parametrize("code", [{"a": 1}, 7, [], None, True])
def test_a_code_that_is_no_text_is_that_of_a_failure_that_passes(stage: Callable[..., Stage], code: Any) -> None:
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("dig"), status="failure", error={"code": code, "message": 5})

    house.turn_until(lambda: "task_retried start" in house.history(job_id))


def size_of_history(house: Stage, job_id: str) -> int:
    with redis.Redis.from_url(house.url) as client:
        return sum(len(row) for row in client.lrange(f"{{avt.g0}}:job:{job_id}:history", 0, -1))


def test_a_job_that_gathers_too_much_ends_with_the_state_and_the_size(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    house.orchestrator(max_job_bytes=100_000)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("dig"), data={"a": "x" * 200_000})

    job = house.turn_until_status(job_id, "error")

    assert job.error is not None
    assert job.error["code"] == "JOB_TOO_LARGE"
    assert "state 'end'" in job.error["message"]
    assert "MAX_JOB_BYTES=100000" in job.error["message"]
    assert house.history(job_id)[-1] == "job_error start"
    assert job.state_history == {}
