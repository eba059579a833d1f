"""Cancelling and trying again, over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from avtomatika import broker, transport
from avtomatika.core.blueprint.action_types import DispatchTask, End, GoTo
from avtomatika.core.events import Result
from avtomatika.core.job import Job, JobStatus
from avtomatika.schemas import wire
from avtomatika.store import Store
from avtomatika.transport import Outgoing

from .conftest import created_id, problem, video

ENCODE = DispatchTask("encode", {}, transitions={"success": "publish", "failure": "failed"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No orchestrator runs here: an answer that waited for one would wait in vain."""
    monkeypatch.setattr("avtomatika.web.api.control._WAIT_SECONDS", 0.0)


def test_a_running_job_is_cancelled_and_nothing_of_it_stays_open(
    alice: FlaskClient, move: Callable[..., Job], store: Store
) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ENCODE)

    assert alice.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 200
    move()

    job = alice.get(f"/api/v1/jobs/{job_id}").json
    history, _ = store.history(job_id)
    assert (job["status"], job["tasks"]) == ("cancelled", [])
    assert (history[-1].entry.event_type, history[-1].entry.data) == ("job_cancelled", {"by": "alice"})


def test_the_queued_task_of_a_cancelled_job_is_dropped(
    alice: FlaskClient, move: Callable[..., Job], redis_url: str
) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ENCODE)
    alice.post(f"/api/v1/jobs/{job_id}/cancel")
    move()

    with broker.connect(redis_url) as connection:
        intake = broker.Consumer(connection, ["encode"], prefetch=10)
        assert intake.take(0.2) == []
        intake.close()


def test_what_is_over_cannot_be_cancelled(alice: FlaskClient, move: Callable[..., Job]) -> None:
    job_id = created_id(alice, initial_data={"quality": "low"})
    move(GoTo("encode"), GoTo("publish"), End("done"))

    body = problem(alice.post(f"/api/v1/jobs/{job_id}/cancel"), 409, "conflict")

    assert body["detail"] == "the job is already finished"


def test_somebody_elses_job_is_unknown(alice: FlaskClient, bob: FlaskClient) -> None:
    job_id = created_id(alice)

    problem(bob.post(f"/api/v1/jobs/{job_id}/cancel"), 404, "not_found")
    problem(bob.post(f"/api/v1/jobs/{job_id}/retry"), 404, "not_found")


def test_a_failed_job_is_done_again_as_a_new_one_of_the_same_client(
    alice: FlaskClient, operator: FlaskClient, move: Callable[..., Job]
) -> None:
    job_id = created_id(alice, initial_data={"n": 1}, labels={"team": "red"})
    move(GoTo("encode"), ENCODE)
    alice.post(f"/api/v1/jobs/{job_id}/cancel")
    move()

    response = operator.post(f"/api/v1/jobs/{job_id}/retry")

    assert response.status_code == 202
    again = alice.get(response.headers["Location"]).json
    assert again["id"] == response.json["job_id"] != job_id
    assert (again["retry_of"], again["client"]) == (job_id, "alice")
    assert (again["initial_data"], again["labels"]) == ({"n": 1}, {"team": "red"})


def test_a_quarantined_job_goes_on_where_it_stood(alice: FlaskClient, move: Callable[..., Job], store: Store) -> None:
    job_id = created_id(alice)
    waiting = move(GoTo("encode"), ENCODE)
    [task] = waiting.tasks.values()
    _publish_unknown_outcome(store, job_id, task.id)
    assert move().status is JobStatus.QUARANTINED

    assert alice.post(f"/api/v1/jobs/{job_id}/retry").status_code == 200
    resumed = move(ENCODE)

    assert (resumed.status, resumed.current_state) == (JobStatus.WAITING_FOR_WORKER, "encode")
    history, _ = store.history(job_id)
    assert "job_resumed" in [recorded.entry.event_type for recorded in history]


@pytest.mark.parametrize("actions", [(), (GoTo("encode"), ENCODE), (GoTo("encode"), GoTo("publish"), End(1))])
def test_what_runs_or_has_finished_is_not_tried_again(
    alice: FlaskClient, move: Callable[..., Job], actions: tuple[object, ...]
) -> None:
    job_id = created_id(alice, initial_data={"quality": "low"})
    if actions:
        move(*actions)

    body = problem(alice.post(f"/api/v1/jobs/{job_id}/retry"), 409, "conflict")

    assert "only failed, broken, cancelled and quarantined jobs can be retried; a fork" in body["detail"]


def _publish_unknown_outcome(store: Store, job_id: str, task_id: str) -> None:
    body = wire.dump_event(Result(job_id, task_id, 1, "odd"))
    message = Outgoing("avt.steps", video.plan.key("encode", "_unknown"), body)
    router = store._router
    [queue] = router.route(message.exchange, message.routing_key).queues
    store._server.execute(("XADD", router.stream(queue, 0), "*", "p", router.encode(message)))


def test_of_several_who_cancel_a_job_one_does(alice: FlaskClient, move: Callable[..., Job]) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ENCODE)

    answers = [alice.post(f"/api/v1/jobs/{job_id}/cancel") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 409, 409, 409]
    assert answers[1].json["detail"] == "the job is already being cancelled"
    assert move().status is JobStatus.CANCELLED


@pytest.mark.usefixtures("move")  # as an orchestrator that serves the plan
def test_a_cancel_that_was_lost_can_be_sent_again(alice: FlaskClient, store: Store, redis_url: str) -> None:
    job_id = created_id(alice)
    assert alice.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 200
    with transport.connect(redis_url) as client:
        version, sent = client.hget(f"{{avt.g0}}:job:{job_id}", "wish:cancel").split()
        client.hset(f"{{avt.g0}}:job:{job_id}", "wish:cancel", b"%b %d" % (version, int(sent) - 31_000))

    assert alice.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 200


def test_a_cancel_that_came_too_late_is_a_conflict(
    alice: FlaskClient, move: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = created_id(alice, initial_data={"quality": "low"})

    def ends_before(*_: object) -> None:
        move(GoTo("encode"), GoTo("publish"), End("done"))

    monkeypatch.setattr("avtomatika.web.api.control.hold", ends_before)

    body = problem(alice.post(f"/api/v1/jobs/{job_id}/cancel"), 409, "conflict")

    assert body["detail"] == "the job is already finished"


def test_of_several_who_retry_a_job_one_does_and_it_can_be_retried_again(
    alice: FlaskClient, move: Callable[..., Job], store: Store
) -> None:
    job_id = created_id(alice)
    for attempt in range(2):
        [task] = move(*((GoTo("encode"),) if attempt == 0 else ()), ENCODE).tasks.values()
        _publish_unknown_outcome(store, job_id, task.id)
        assert move().status is JobStatus.QUARANTINED

        assert alice.post(f"/api/v1/jobs/{job_id}/retry").status_code == 200
        body = problem(alice.post(f"/api/v1/jobs/{job_id}/retry"), 409, "conflict")
        assert body["detail"] == "the job is already being retried"
