"""Tasks that other programs published and workers forwarded become jobs, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.broker import Outgoing
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.core.signing import Signer
from avtomatika.errors import UnauthorizedError, UnavailableError
from avtomatika.schemas import wire

from ..support.orchestrators import Stage

REPLY = {"reply_to": "replies", "correlation_id": "c-1"}
CELERY = {"task": "encode", "id": "4f1c"}
NO_CANVAS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class House(Stage):
    """A stage whose test forwards requests as a worker does."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, [SINGLE_TASKS])
        self.orchestrator(**options)
        broker.declare_tasks(self.connection, ["encode"])
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self._stack.callback(self.redis.close)

    def forward(self, content: Any = None, *, signer: Signer | None = None, **fields: Any) -> None:
        defaults = {"worker_id": "w", "skill": "encode", "tag": "1", "headers": {}, "properties": {}}
        request = wire.TaskRequest(**defaults | {"content": {} if content is None else content} | fields)
        body = wire.dump_task_request(request, signer)
        message = Outgoing(WORKERS, REQUESTS, body, headers=request.headers, properties=request.properties)
        with self.connection.channel() as channel:
            channel.settle([message], ())

    def forward_celery(self, args: list[Any], kwargs: dict[str, Any] | None = None, **headers: Any) -> None:
        self.forward([args, kwargs or {}, NO_CANVAS], headers=CELERY | headers)

    def settled(self) -> bool:
        return int(self.redis.xlen(f"{{avt.g0}}:q:{REQUESTS}:0")) == 0

    def jobs(self) -> list[Job]:
        self.turn_until(self.settled)
        return [self.job(job_id) for job_id in self.redis.zrange("{avt.g0}:jobs:client:_broker", 0, -1)]

    def dead_letters(self) -> list[str]:
        self.turn_until(self.settled)
        return [fields["error"] for _, fields in self.redis.xrange(f"{{avt.g0}}:q:{REQUESTS}:dead")]

    def replies(self, count: int) -> list[Any]:
        """Wait for *count* replies; return their bodies."""
        self.turn_until(lambda: self.redis.xlen("{avt.g0}:q:replies:0") >= count)
        return [json.loads(fields["p"].partition("\n")[2]) for _, fields in self.redis.xrange("{avt.g0}:q:replies:0")]

    def declare_replies(self) -> None:
        with self.connection.channel() as channel:
            channel.queue_declare("replies")


@pytest.fixture
def make_house(redis_url: str) -> Any:
    made: list[House] = []

    def make(**options: Any) -> House:
        made.append(House(redis_url, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    return make_house()


def test_a_request_is_a_job_with_its_options(house: House) -> None:
    house.declare_replies()
    house.forward({"path": "a.mov"}, properties=REPLY | {"priority": 7})

    [job] = house.jobs()

    assert (job.skill, job.initial_data, job.priority) == ("encode", {"path": "a.mov"}, 7)
    house.answer(house.take_task("encode"), status="success", data={"film": "a"})
    [reply] = house.replies(1)
    assert reply == {"job_id": job.id, "status": "finished", "result": {"film": "a"}, "error": None}


def test_a_repeated_request_is_one_job(house: House) -> None:
    for width in (1, 1, 2):
        house.forward({"width": width}, properties={"message_id": "m-1"})
        house.forward_celery([], {"width": width})
    house.forward()

    assert [job.initial_data for job in house.jobs()] == [{"width": 1}, {"width": 1}, {}]


def test_a_request_after_the_queue_of_its_skill_expired(house: House) -> None:
    with house.connection.channel() as channel:
        channel.queue_delete("encode")
    house.forward()

    [job] = house.jobs()
    assert house.take_task("encode")[1].job_id == job.id


def test_arguments_by_position_get_the_names_that_the_worker_registered(house: House) -> None:
    schema = {"type": "object", "properties": {"path": {}, "width": {}}}
    house.store.registry.register("w", {"skills": [{"name": "encode", "schema": schema}]})
    house.forward_celery(["a.mov", 3], timelimit=[30, 20], eta="2026-11-30T10:00:00+02:00")
    house.forward_celery(["a.mov"], {"path": "b.mov"}, id="2")
    house.forward_celery([1, 2, 3], id="3")

    [job] = house.jobs()
    assert job.initial_data == {"path": "a.mov", "width": 3}
    assert (job.result_timeout_seconds, job.at_ms) == (30, 1_796_025_600_000)
    twice, many = house.dead_letters()
    assert twice == "arguments given by position and by name: path"
    assert "3 arguments by position, but the parameters of the skill 'encode' are: path, width" in many


def test_an_expired_request_is_refused_and_a_later_one_expires_while_it_waits(house: House) -> None:
    house.declare_replies()
    house.forward(properties=REPLY, headers={"expires": "1970-01-01T00:00:01"})
    later = datetime.fromtimestamp(house.store.clock.now_ms() / 1000 + 60, UTC)
    house.forward(tag="2", headers={"expires": later.isoformat()})

    [job] = house.jobs()

    assert 50 < (job.dispatch_timeout_seconds or 0) <= 60
    [reply] = house.replies(1)
    assert (reply["status"], reply["error"]["message"]) == ("failed", "the task has expired")


def test_a_job_without_its_program_ends_and_leaves_nothing_behind(house: House) -> None:
    house.forward(properties=REPLY)
    [job] = house.jobs()

    house.answer(house.take_task("encode"), status="success", data={})
    house.turn_until_status(job.id, JobStatus.FINISHED)
    house.turn_until(lambda: house.redis.xlen("{avt.g0}:q:avt.timers:0") == 0)

    assert not house.redis.keys("{avt.g0}:q:replies*")
    assert not house.redis.keys("{avt.g0}:q:*:dead")


def test_a_program_learns_that_its_result_is_too_large_for_a_message(house: House) -> None:
    house.declare_replies()
    house.forward(properties=REPLY)
    [job] = house.jobs()

    house.answer(house.take_task("encode"), status="success", data={"text": "x" * 2**21})

    [reply] = house.replies(1)
    assert (reply["status"], reply["error"]["code"]) == ("failed", "RESULT_TOO_LARGE")
    assert house.job(job.id).status is JobStatus.FINISHED


def test_a_quarantined_task_is_a_failure_and_a_retry_sends_its_result(house: House) -> None:
    house.declare_replies()
    house.forward(properties=REPLY)
    [job] = house.jobs()
    delivery, _ = house.take_task("encode")
    house._tasks.dead_letter(delivery, reason="deliveries")
    house.turn_until_status(job.id, JobStatus.QUARANTINED)
    house.store.signal(house.job(job.id), "retry", by="me")

    house.turn_until(lambda: house.redis.xlen("{avt.g0}:q:encode:0") == 1)
    house.answer(house.take_task("encode"), status="success", data={"result": 1})

    failure, success = house.replies(2)
    assert (failure["status"], failure["error"]["code"]) == ("quarantined", "DEAD_LETTER")
    assert (success["status"], success["result"]) == ("finished", 1)


def test_requests_are_refused_if_they_are_switched_off(make_house: Callable[..., House]) -> None:
    house = make_house(accept_kombu_tasks=False)
    house.declare_replies()
    house.forward(properties=REPLY)

    assert house.dead_letters() == ["tasks of other programs are refused: ACCEPT_KOMBU_TASKS=false"]
    [reply] = house.replies(1)
    assert reply["status"] == "failed"
    assert house.jobs() == []


def test_only_authorized_workers_forward_and_only_for_their_skills(make_house: Callable[..., House]) -> None:
    def skills_of(worker_id: str | None, text: bytes) -> frozenset[str] | None:
        if worker_id != "audio":
            raise UnauthorizedError("no token")
        return frozenset({"transcribe"})

    house = make_house(skills_of_signer=skills_of)
    house.forward(worker_id="stranger")
    house.forward(worker_id="audio", tag="2")
    house.forward({"by": "web"}, worker_id="", tag="3", signer=house.store.keyring.secret)

    assert [job.initial_data for job in house.jobs()] == [{"by": "web"}]
    stranger, audio = house.dead_letters()
    assert "worker 'stranger' is unauthorized" in stranger
    assert "not granted the skill 'encode'" in audio


def test_a_request_waits_while_the_server_is_full(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    [orchestrator] = house.orchestrators

    def refuse(*_: object) -> None:
        raise UnavailableError("the server is full")

    with monkeypatch.context() as patch:
        patch.setattr(orchestrator._store, "create", refuse)
        house.forward({"path": "a.mov"})
        house.turn_until(lambda: house.redis.zcard(f"{{avt.g0}}:q:{REQUESTS}:delays") == 1)
    for name, _ in house.redis.zscan_iter(f"{{avt.g0}}:q:{REQUESTS}:delays"):
        house.redis.zadd(f"{{avt.g0}}:q:{REQUESTS}:delays", {name: 0})

    house.turn_until(lambda: house.redis.zcard(f"{{avt.g0}}:q:{REQUESTS}:delays") == 0)
    assert [job.initial_data for job in house.jobs()] == [{"path": "a.mov"}]


@pytest.mark.parametrize(
    ("sent", "kept"), [("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True), ("00-x", False), (1, False)]
)
def test_a_job_continues_the_trace_of_the_program(make_house: Callable[..., House], sent: object, kept: bool) -> None:
    house = make_house()
    house.forward(headers={"traceparent": sent})

    assert [job.traceparent for job in house.jobs()] == [sent if kept else None]
