from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika import Worker, broker
from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.errors import InvalidInputError, PermanentError, TransientError
from avtomatika.schemas import wire
from avtomatika.worker.links import broker_link as broker_link, pending
from avtomatika.worker.links.broker_link import BrokerLink

from ...support.scripted_orchestrator import DEADLINE_SECONDS, Office, task
from ...support.waiting import wait_until

RunLink = Callable[..., BrokerLink]
MakeOffice = Callable[[str], Office]


def make_worker() -> Worker:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any], task_id: str) -> dict[str, Any]:
        match params.get("raise"):
            case "transient":
                raise TransientError("busy")
            case "permanent":
                raise PermanentError("no such page")
            case "invalid":
                raise InvalidInputError("width is missing")
        return dict(params.get("answer", {"seen": task_id}))

    @worker.skill()
    def sync_work(params: dict[str, Any]) -> dict[str, Any]:
        return {"thread": threading.current_thread().name}

    return worker


# ---------------------------------------------------------------- there and back


def test_a_task_is_answered_with_a_result(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({})

    [result] = office.results(1)

    assert (result.task_id, result.attempt, result.status) == ("g0-1.0.0", 1, "success")
    assert result.data == {"seen": "g0-1.0.0"}
    assert result.worker_id == "worker-1"
    assert result.duration_ms is not None
    assert office.depth("work") == 0


def test_a_sync_skill_runs_in_a_thread(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({}, task_type="sync_work")

    [result] = office.results(1)

    assert result.data == {"thread": "skill-1"}


def test_tasks_are_announced_before_their_results(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({})

    [notice] = office.notices(1)

    assert (notice.job_id, notice.task_id, notice.attempt, notice.worker_id) == ("g0-1", "g0-1.0.0", 1, "worker-1")


def test_results_wait_for_the_announcements_of_their_tasks(
    office: Office, run_link: RunLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    announcement = broker.tasks_started

    def slow_announcement(*args: Any, **options: Any) -> Any:
        sleep(0.3)  # the skill has ended long before
        return announcement(*args, **options)

    monkeypatch.setattr(broker, "tasks_started", slow_announcement)
    run_link(make_worker())
    office.give({})

    office.results(1)

    assert office.depth(WORKERS) == 1


def test_errors_say_whether_a_retry_can_help(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({"raise": "transient"}, {"raise": "permanent"}, {"raise": "invalid"})

    results = office.results(3)

    assert [result.status for result in results] == ["failure"] * 3
    assert [result.error for result in results] == [
        {"code": "TRANSIENT_ERROR", "message": "busy"},
        {"code": "PERMANENT_ERROR", "message": "no such page"},
        {"code": "INVALID_INPUT_ERROR", "message": "width is missing"},
    ]


def test_an_outcome_of_the_users_own_takes_its_own_way(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({"answer": {"status": "needs_review", "data": {"page": 3}}})

    [result] = office.results(1)

    assert (result.status, result.data) == ("needs_review", {"page": 3})


def test_an_unknown_outcome_is_sent(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({"answer": {"status": "sideways"}})

    [result] = office.results(1)

    assert result.status == "sideways"


def test_a_batch_is_worked_off(office: Office, run_link: RunLink) -> None:
    run_link(make_worker(), concurrency=16)
    office.give(*[{"answer": {"n": number}} for number in range(200)])

    results = office.results(200)

    assert [result.data["n"] for result in results] == list(range(200))
    assert office.depth("work") == 0


def test_a_worker_has_its_own_queue(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({})
    office.results(1)

    office.give({"answer": {"n": 1}}, queue="@worker-1")

    [result] = office.results(1)
    assert result.data == {"n": 1}


def test_no_more_tasks_are_taken_than_can_run(office: Office, run_link: RunLink) -> None:
    go_on = threading.Event()
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        go_on.wait(DEADLINE_SECONDS)

    run_link(worker, concurrency=2)
    office.give({}, {}, {})
    office.notices(2)

    [third] = office.take("work", 1)
    go_on.set()

    assert third.deliveries == 1
    assert len(office.results(2)) == 2


def test_a_finished_task_is_answered_while_another_runs(office: Office, run_link: RunLink) -> None:
    go_on = threading.Event()
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        if "slow" in params:
            go_on.wait(DEADLINE_SECONDS)

    run_link(worker)
    office.give({"slow": True}, {})

    [result] = office.results(1)
    go_on.set()

    assert result.task_id == "g0-1.1.0"
    assert len(office.results(1)) == 1


# ---------------------------------------------------------------- what is no task


def test_a_rejected_worker_takes_no_tasks(
    office: Office, run_link: RunLink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker_link, "REJECTED_SECONDS", 2.0)
    run_link(make_worker())
    office.wait_for_listeners(1)

    office.tell_workers(wire.Rejected("worker-1"), wire.Rejected("worker-2"))
    deadline = monotonic() + 10
    while "reject this worker" not in caplog.text:
        assert monotonic() < deadline
        sleep(0.01)
    told_at = monotonic()
    office.give({"by": "an accepted worker"})

    assert office.results(1)[0].status == "success"  # the rejection is not repeated, and there is no other worker
    assert monotonic() - told_at > 1


def test_messages_of_other_programs_are_forwarded_or_dead_lettered(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    too_large = json.dumps({"text": "x" * (4 * 2**20 - 300)})
    for text in ('{"width": 3}', too_large, "[" * 500 + "]" * 500, "no JSON"):
        office.give_text(text)
    office.give({})
    office.results(1)

    [delivery] = office.take(REQUESTS, 1)
    request = wire.load_task_request(delivery.body)
    assert (request.worker_id, request.skill, request.content) == ("worker-1", "work", {"width": 3})
    wait_until(lambda: len(office.dead_letters("work")) == 3)
    assert office.depth("work") == 0


def test_an_invalid_message_is_dead_lettered(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({})
    office.results(1)

    office.give_text('{"v": 1, "kind": "task", "job_id": 3}')

    [pending] = office.dead_letters("work")
    assert pending[b"reason"] == b"malformed"
    assert b"'job_id' is 3" in pending[b"error"]


def test_a_task_without_a_skill_is_dead_lettered(office: Office, run_link: RunLink) -> None:
    run_link(make_worker())
    office.give({})
    office.results(1)

    office.give({}, task_type="other", queue="work")

    [pending] = office.dead_letters("work")
    assert pending[b"reason"] == b"no_skill"
    assert b"this worker has no skill 'other'" in pending[b"error"]


def test_a_result_waits_for_a_binding_that_is_missing_and_holds_up_no_other(office: Office, run_link: RunLink) -> None:
    run_link(make_worker(), concurrency=1)
    late = replace(task(0, {"answer": {"n": 1}}), reply_prefix="video@00000000.late")

    office.give_text(wire.dump_task(late))
    office.give({"answer": {"n": 2}})
    [result] = office.results(1)
    office.bind("video@00000000.late.success")
    [deferred] = office.results(1)

    assert (result.data, deferred.data) == ({"n": 2}, {"n": 1})
    assert office.depth("work") == 0


def test_a_result_that_leads_nowhere_for_long_is_given_up(
    office: Office, run_link: RunLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "_MAX_DEFER_SECONDS", 0.0)
    run_link(make_worker())
    office.give_text(wire.dump_task(replace(task(0, {}), reply_prefix="video@00000000.nowhere")))

    [letter] = office.dead_letters("work")

    assert letter[b"reason"] == b"no_answer"


# ---------------------------------------------------------------- when the broker is away


def test_a_link_waits_for_an_unavailable_broker(own_server: Any, make_office: MakeOffice, run_link: RunLink) -> None:
    own_server.stop()
    run_link(make_worker(), url=own_server.url)
    own_server.start()

    office = make_office(own_server.url)
    office.give({})

    assert len(office.results(1)) == 1


def test_a_link_continues_after_the_broker_was_killed(
    own_server: Any, make_office: MakeOffice, run_link: RunLink
) -> None:
    office = make_office(own_server.url)
    run_link(make_worker(), url=own_server.url)
    office.give({})
    office.results(1)

    own_server.kill()
    own_server.start()
    office = make_office(own_server.url)
    office.give({})

    assert len(office.results(1)) == 1


def test_a_result_waits_for_the_broker_to_come_back(
    own_server: Any, make_office: MakeOffice, run_link: RunLink
) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        begun.set()
        go_on.wait(DEADLINE_SECONDS)
        ended.set()

    run_link(worker, url=own_server.url)
    make_office(own_server.url).give({})
    begun.wait(DEADLINE_SECONDS)

    own_server.stop()
    go_on.set()
    ended.wait(DEADLINE_SECONDS)
    own_server.start()

    [result] = make_office(own_server.url).results(1)
    assert result.task_id == "g0-1.0.0"


def test_a_link_can_be_stopped_while_the_broker_is_down(own_server: Any, run_link: RunLink) -> None:
    link = run_link(make_worker(), url=own_server.url)

    own_server.stop()
    link.stop()


def test_a_full_broker_is_worked_empty(
    own_server: Any, make_office: MakeOffice, run_link: RunLink, caplog: pytest.LogCaptureFixture
) -> None:
    office = make_office(own_server.url)
    office.give({}, {}, {})
    office.fill()

    run_link(make_worker(), url=own_server.url)

    assert len(office.results(3)) == 3
    wait_until(lambda: "tasks start before they are announced" in caplog.text)


def test_a_task_leased_to_another_worker_is_not_answered(office: Office, run_link: RunLink) -> None:
    go_on = threading.Event()
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        go_on.wait(DEADLINE_SECONDS)

    run_link(worker)
    office.give({}, {})
    office.notices(2)

    office.take_away("work", "g0-1.0.0")
    go_on.set()

    [result] = office.results(1)
    assert result.task_id == "g0-1.1.0"
