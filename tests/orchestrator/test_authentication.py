from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, broker
from avtomatika.core.events import (
    CancelChildren,
    ChildEnded,
    ChildQuarantined,
    DeadLetter,
    DeadlineExceeded,
    Decision,
    Enter,
    Event,
    Joined,
    NextBranches,
    PlaceTask,
    Result,
    RetryHandler,
    RetryTask,
    Signal,
    SignalReceived,
    Start,
    TaskTimeout,
    TimeReached,
)
from avtomatika.core.job import Job
from avtomatika.core.signing import GroupSecret, WorkerKey, mac_key_of
from avtomatika.errors import UnauthorizedError
from avtomatika.schemas import wire

from ..support.orchestrators import Stage


def ride() -> Blueprint:
    bp = Blueprint(name="ride")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("drive", {}, transitions={"success": "home", "failure": "ditch"})

    @bp.handler(is_end=True)
    def home() -> None: ...

    @bp.handler(is_end="failed")
    def ditch() -> None: ...

    return bp


class Intruder:
    """An attacker who can write to the broker of *house* but has no secret."""

    def __init__(self, house: Stage, bp: Blueprint) -> None:
        self.house = house
        self.bp = bp
        self.redis = redis.Redis.from_url(house.url)

    def publish(self, body: str, outcome: str, **headers: Any) -> None:
        with self.house.connection.Producer() as producer:
            producer.publish(
                body,
                exchange="avt.steps",
                routing_key=self.bp.plan.key("start", outcome),
                content_type="application/json",
                content_encoding="utf-8",
                headers=headers,
            )

    def dead_letters(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.redis.xrange(f"{{avt.g0}}:q:{self.bp.plan.main_queue}:dead")]

    def turn_until_refused(self) -> dict[bytes, bytes]:
        self.house.turn_until(lambda: bool(self.dead_letters()))
        [letter] = self.dead_letters()
        return letter


@pytest.fixture
def bp() -> Blueprint:
    return ride()


@pytest.fixture
def house(stage: Callable[..., Stage], bp: Blueprint) -> Stage:
    house = stage(bp)
    house.orchestrator()
    return house


@pytest.fixture
def intruder(house: Stage, bp: Blueprint) -> Intruder:
    return Intruder(house, bp)


@pytest.fixture
def job(house: Stage, bp: Blueprint) -> Job:
    """Create a job that waits for a worker."""
    return house.turn_until_status(house.create(bp), "waiting_for_worker")


FORGED: dict[str, tuple[Callable[[str, str], Event], str]] = {
    "start": (lambda job, task: Start(job), "_start"),
    "enter": (lambda job, task: Enter(job, "home", 7), "_enter"),
    "retry": (lambda job, task: RetryTask(job, task, 2), "_retry"),
    "placing": (lambda job, task: PlaceTask(job, task, 1), "_retry"),
    "timeout": (lambda job, task: TaskTimeout(job, task, 1, "dispatch"), "_timeout"),
    "handler": (lambda job, task: RetryHandler(job, "start", 1, 1), "_retry"),
    "signal": (lambda job, task: Signal(job, "cancel", "nobody", "token"), "_signal"),
    "dead letter": (lambda job, task: DeadLetter(job, "so it is", "start", task, 1), "_unknown"),
    "joined": (lambda job_id, task_id: Joined(job_id, step=1), "_joined"),
    "next branches": (lambda job_id, task_id: NextBranches(job_id, step=1, sent=0), "_branches"),
    "time": (lambda job_id, task_id: TimeReached(job_id, f"{job_id}.1"), "_timer"),
    "approval": (lambda job_id, task_id: Decision(job_id, f"{job_id}.1", "approved", by="w"), "_approval"),
    "received": (lambda job_id, task_id: SignalReceived(job_id, "5a1f"), "_signal"),
    "cancel children": (lambda job_id, task_id: CancelChildren(job_id, step=1, first=1, last=9), "_branches"),
    "deadline": (lambda job_id, task_id: DeadlineExceeded(job_id), "_timer"),
    "child": (lambda job_id, task_id: ChildEnded(job_id, f"{job_id}-1", "finished"), "_child"),
    "child in quarantine": (lambda job_id, task_id: ChildQuarantined(job_id, f"{job_id}-1", 1, {}), "_child"),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("by", [None, GroupSecret("that of another group")], ids=["unsigned", "signed by others"])
def test_an_event_that_the_group_has_not_signed_moves_nothing(
    name: str, by: GroupSecret | None, house: Stage, intruder: Intruder, job: Job
) -> None:
    make, outcome = FORGED[name]
    [task_id] = job.tasks

    intruder.publish(wire.dump_event(make(job.id, task_id), by), outcome)
    letter = intruder.turn_until_refused()

    assert letter[b"reason"] == b"forged"
    assert b"does not carry the group's signature" in letter[b"error"]
    assert house.job(job.id) == job
    assert house.store.notes(job.id) == []


def test_every_event_that_we_know_is_tried_here() -> None:
    tried = {type(make("g0-1", "g0-1.1.0")) for make, _ in FORGED.values()}

    assert tried | {Result} == set(Event.__args__)


@pytest.mark.parametrize(
    "ticket",
    [
        lambda secret, task_id: "",
        lambda secret, task_id: "0" * 32,
        lambda secret, task_id: secret.ticket(task_id, 2),
        lambda secret, task_id: secret.ticket(f"{task_id}1", 1),
        lambda secret, task_id: GroupSecret("that of another group").ticket(task_id, 1),
    ],
    ids=["none", "made up", "of another attempt", "of another task", "of another group"],
)
def test_a_result_without_the_ticket_of_its_task_does_not_count(
    ticket: Callable[[GroupSecret, str], str], house: Stage, intruder: Intruder, job: Job
) -> None:
    [task_id] = job.tasks
    result = Result(job.id, task_id, 1, "success", {}, worker_id="mallory")

    intruder.publish(wire.dump_result(result, ticket=ticket(house.store.keyring.secret, task_id)), "success")
    letter = intruder.turn_until_refused()

    assert letter[b"reason"] == b"forged"
    assert house.job(job.id) == job
    assert house.store.notes(job.id) == []


def test_a_rejected_message_cannot_choose_its_dead_letter_notification(
    house: Stage, intruder: Intruder, job: Job, bp: Blueprint
) -> None:
    """Otherwise an attacker could make the broker publish messages by dead-lettering."""
    [task_id] = job.tasks
    own = wire.dump_event(DeadLetter(job.id, "so it is", "start", task_id, 1), house.store.keyring.secret)
    wish = {"exchange": "avt.steps", "key": bp.plan.key("start", "_unknown"), "body": own}

    intruder.publish(wire.dump_event(Start(job.id)), "_start", **{"x-on-dead": wish})
    intruder.turn_until_refused()
    for _ in range(3):
        house.orchestrators[0].run_once()

    assert house.job(job.id) == job


def test_a_dead_lettered_result_reaches_its_job(house: Stage, job: Job) -> None:
    """By the headers that its worker, which cannot sign, received with the task."""
    delivery, task = house.take_task("drive")
    headers = broker.forwarded_headers(delivery.headers)

    body = headers["x-on-dead"]["body"].encode()

    assert house.store.keyring.secret.is_signed(body)
    assert wire.load_event(body) == DeadLetter(job.id, "dead_letter", "start", task.task_id, 1)


def test_messages_signed_with_the_previous_secret_are_taken(stage: Callable[..., Stage], bp: Blueprint) -> None:
    house = stage(bp)
    job_id = house.create(bp)
    kept = redis.Redis.from_url(house.url).get("{avt.g0}:secret")
    assert isinstance(kept, bytes)
    house.orchestrator(secret=GroupSecret("new", previous=kept.decode()))

    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("drive"))

    house.turn_until_status(job_id, "finished")


def token_of_anna(worker_id: str, text: bytes) -> None:
    if worker_id != "anna" or not WorkerKey(mac_key_of("token of anna")).is_signed(text):
        raise UnauthorizedError("not anna")


@pytest.mark.parametrize(
    ("worker_id", "token"),
    [("anna", None), ("anna", "another token"), ("mallory", "token of anna"), (None, "token of anna")],
)
def test_a_result_with_a_wrong_signature_is_rejected(
    worker_id: str | None, token: str | None, stage: Callable[..., Stage], bp: Blueprint
) -> None:
    """The task is dispatched again until its attempts are used up."""
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    key = None if token is None else WorkerKey(mac_key_of(token))

    house.answer(house.take_task("drive"), signer=key, worker_id=worker_id)
    house.turn_until(lambda: "task_retried start" in house.history(job_id))
    job = house.job(job_id)

    assert job.error is not None
    assert "did not sign it with its token" in str(job.error)
    [note] = house.store.notes(job_id)
    assert note["event_type"] == "task_result_ignored"


def test_a_result_signed_by_its_worker_is_accepted(stage: Callable[..., Stage], bp: Blueprint) -> None:
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")

    house.answer(house.take_task("drive"), signer=WorkerKey(mac_key_of("token of anna")), worker_id="anna")

    house.turn_until_status(job_id, "finished")


def test_an_altered_result_is_rejected(stage: Callable[..., Stage], bp: Blueprint) -> None:
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    _, task = house.take_task("drive")
    result = Result(job_id, task.task_id, 1, "failure", {}, worker_id="anna")
    body = wire.dump_result(result, ticket=task.ticket, signer=WorkerKey(mac_key_of("token of anna")))

    intruder = Intruder(house, bp)
    intruder.publish(body.replace('"failure"', '"success"'), "success")
    intruder.turn_until_refused()

    assert house.job(job_id).status == "waiting_for_worker"


@pytest.mark.parametrize(
    ("signer", "is_heard"),
    [
        (WorkerKey(mac_key_of("token of anna")), True),
        (WorkerKey(mac_key_of("another token")), False),
        (None, False),
    ],
    ids=["its own token", "another token", "no token"],
)
def test_notices_of_unauthorized_workers_are_dropped(
    signer: WorkerKey | None,
    is_heard: bool,
    stage: Callable[..., Stage],
    bp: Blueprint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    _, task = house.take_task("drive")
    sent = broker.task_started(task, "anna", signer=signer)

    with house.connection.channel() as channel:
        channel.settle([sent, sent], ())
    house.turn_until(lambda: house.notices() == 0)

    assert ("task_taken start" in house.history(job_id)) is is_heard
    assert caplog.text.count("its notices are dropped") == (0 if is_heard else 1)
    assert set(house.controls()) == (set() if is_heard else {wire.Rejected("anna")})


def test_notices_signed_by_the_web_are_accepted_for_any_worker(stage: Callable[..., Stage], bp: Blueprint) -> None:
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    _, task = house.take_task("drive")

    with house.connection.channel() as channel:
        channel.settle([broker.task_started(task, "by-http", signer=house.store.keyring.secret)], ())

    house.turn_until(lambda: "task_taken start" in house.history(job_id))


@pytest.mark.parametrize("with_tokens", [False, True])
def test_a_result_without_a_worker_id_is_accepted(
    with_tokens: bool, stage: Callable[..., Stage], bp: Blueprint
) -> None:
    """Without worker tokens a result need not name its worker."""
    house = stage(bp)
    house.orchestrator(skills_of_signer=token_of_anna if with_tokens else None)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    delivery, task = house.take_task("drive")
    body = json.loads(wire.dump_result(Result(job_id, task.task_id, 1, "success", {}), ticket=task.ticket))
    del body["worker_id"]

    Intruder(house, bp).publish(json.dumps(body), "success", **broker.forwarded_headers(delivery.headers))

    expected = "task_retried start" if with_tokens else "job_finished home"
    house.turn_until(lambda: expected in house.history(job_id))
