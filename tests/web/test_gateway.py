"""The gateway as workers see it: on the wire, with the shapes that their SDK speaks."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.blueprint.action_types import DispatchTask, GoTo
from avtomatika.core.job import Job
from avtomatika.core.plan import TASKS
from avtomatika.schemas import wire
from avtomatika.store import Sessions, Store, TaskLeases, WorkerRegistry
from avtomatika.tokens import Clients, Workers
from avtomatika.web.app import create_app
from avtomatika.web.gateway import Authentication, Gateway, Polls, WorkerQueues
from avtomatika.web.long_poll import HeldRequests

from ..support.waiting import wait_until
from .conftest import PLANS, created_id

WORKERS = """
[one]
token = "token-of-worker-one"
[two]
token = "token-of-worker-two"
[deaf]
token = "token-of-worker-deaf"
skills = ["other"]
"""
TO_ENCODE = (
    GoTo("encode"),
    DispatchTask("encode", {"n": 1}, transitions={"success": "publish", "failure": "failed"}, priority=3),
)
Move = Callable[..., Job]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workers_toml(tmp_path: Path) -> Path:
    path = tmp_path / "workers.toml"
    path.write_text(WORKERS)
    path.chmod(0o600)
    return path


@pytest.fixture
def gateway(redis_url: str, store: Store, workers_toml: Path, clock: Clock) -> Iterator[Gateway]:
    registry, leases = WorkerRegistry.connect(redis_url), TaskLeases.connect(redis_url)

    gateway = Gateway(
        authentication=Authentication(
            workers=Workers(token="the-shared-token", path=workers_toml, revoked_names=registry, clock=clock),
            sessions=(sessions := Sessions.connect(redis_url)),
        ),
        registry=registry,
        leases=leases,
        streams=store.streams,
        keyring=store.keyring,
        polls=Polls(connect=lambda: broker.connect(redis_url), leases=leases, keyring=store.keyring),
        worker_queues=WorkerQueues(lambda: broker.connect(redis_url), clock=clock),
        lease_seconds=30,
    )
    yield gateway
    gateway.polls.close()
    registry.close()
    leases.close()
    sessions.close()


@pytest.fixture
def app(store: Store, clients: Clients, declare: Callable[[], None], gateway: Gateway) -> Flask:
    return create_app(store=store, plans=PLANS, clients=clients, declare=declare, gateway=gateway)


def replace(path: Path, text: str) -> None:
    """Write *text* to a new file, and rename it to *path*."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


class FakeWorker:
    """A worker as the SDK has it: headers and bodies, no more."""

    def __init__(self, app: Flask, worker_id: str, token: str) -> None:
        self.id = worker_id
        self.client = app.test_client()
        self.client.environ_base |= {"HTTP_X_WORKER_ID": worker_id, "HTTP_X_WORKER_TOKEN": token}

    def register(self, **more: Any) -> Any:
        skills = [{"name": "encode", "type": "encode"}]
        body = {"supported_skills": skills, **more, "worker_id": self.id, "worker_type": "t"}
        return self.client.post("/_worker/workers/register", json=body)

    def beat(self, *tasks: str, **more: Any) -> Any:
        body = {"worker_id": self.id, "status": "idle", "current_tasks": list(tasks), **more}
        return self.client.patch(f"/_worker/workers/{self.id}", json=body)

    def poll(self, timeout: float = 5.0, skills: str | None = "encode") -> Any:
        query = {"timeout": timeout, "hot_skills": ""} | ({} if skills is None else {"available_skills": skills})
        return self.client.get(f"/_worker/workers/{self.id}/tasks/next", query_string=query)

    def answer(self, task: dict[str, Any], **fields: Any) -> Any:
        return self.send(self.result(task, **fields))

    def result(self, task: dict[str, Any], **fields: Any) -> bytes:
        body = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": self.id, "data": {}, **fields}
        return json.dumps(body, sort_keys=True).encode()

    def tell(self, task: dict[str, Any], **payload: Any) -> Any:
        """A progress report, as the SDK sends it."""
        body = {
            "event_id": "3ff2f9f0-0000-4000-8000-000000000000",
            "worker_id": self.id,
            "origin_worker_id": self.id,
            "event_type": "progress",
            "payload": payload,
            "origin_task_id": task["task_id"],
            "bubbling_chain": [],
            "target_job_id": task["job_id"],
            "target_task_id": task["task_id"],
            "priority": 0,
            "timestamp": 1795451644,
        }
        return self.client.post("/_worker/events", json=body)

    def send(self, raw: bytes) -> Any:
        return self.client.post("/_worker/tasks/result", data=raw, content_type="application/json")


@pytest.fixture
def one(app: Flask) -> FakeWorker:
    return FakeWorker(app, "one", "token-of-worker-one")


@pytest.fixture
def two(app: Flask) -> FakeWorker:
    return FakeWorker(app, "two", "token-of-worker-two")


@pytest.fixture
def job_id(alice: FlaskClient, move: Move) -> str:
    """A job that waits for the task ``encode``."""
    job_id = created_id(alice)
    move(*TO_ENCODE)
    return job_id


def test_a_task_goes_to_the_poll_and_its_result_to_the_job(
    one: FakeWorker, job_id: str, move: Move, store: Store
) -> None:
    one.register()

    polled = one.poll()
    task = polled.json
    answered = one.answer(task, data={"url": "u"}, costs={"execution_time_seconds": 0.25})

    assert polled.content_type == "application/json"
    assert (task["job_id"], task["type"], task["params"], task["priority"]) == (job_id, "encode", {"n": 1}, 3)
    assert all(type(task[name]) is int for name in ("timestamp", "priority"))
    assert (answered.status_code, answered.json) == (200, {"status": "accepted"})
    assert move().state_history["url"] == "u"
    [done] = [entry.entry for entry in store.history(job_id)[0] if entry.entry.event_type == "task_succeeded"]
    assert (done.worker_id, done.duration_ms) == ("one", 250)


def test_the_orchestrators_hear_who_has_the_task(one: FakeWorker, job_id: str, redis_url: str) -> None:
    one.poll()

    with redis.Redis.from_url(redis_url) as client:
        [(_, fields)] = client.xrange("{avt.g0}:q:avt.workers:0")
    assert b'"worker_id":"one"' in fields[b"p"]


def test_the_job_shows_what_the_worker_tells_of_its_progress(one: FakeWorker, job_id: str, alice: FlaskClient) -> None:
    task = one.poll().json

    told = one.tell(task, progress=0.4, message="two of five")

    job = alice.get(f"/api/v1/jobs/{job_id}").json
    assert (told.status_code, told.json) == (200, {"status": "event_accepted"})
    assert (job["progress"], job["progress_message"]) == (0.4, "two of five")


def test_only_who_holds_the_task_tells_of_its_progress(
    one: FakeWorker, two: FakeWorker, job_id: str, alice: FlaskClient
) -> None:
    task = one.poll().json

    told = two.tell(task, progress=0.4)

    assert (told.status_code, told.json["status"]) == (200, "error")
    assert alice.get(f"/api/v1/jobs/{job_id}").json["progress"] is None


def test_progress_that_is_none_is_told_so_and_does_no_harm(one: FakeWorker, job_id: str) -> None:
    task = one.poll().json

    told = [one.tell(task, progress=share) for share in (40, "half", None)]

    assert [(each.status_code, each.json["status"]) for each in told] == [(200, "error")] * 3
    assert one.answer(task).json == {"status": "accepted"}


def test_only_chunks_of_the_attempt_that_the_worker_holds_are_appended(
    one: FakeWorker, two: FakeWorker, job_id: str, alice: FlaskClient
) -> None:
    task = one.poll().json

    def send(worker: FakeWorker, name: str, attempt: int, *chunks: object) -> str:
        event = {
            "worker_id": name,
            "event_type": "stream",
            "target_task_id": task["task_id"],
            "attempt": attempt,
            "payload": {"run": 1, "chunks": chunks},
        }
        answer = worker.client.post("/_worker/events", json=event)
        return f"{answer.status_code} {answer.json['status']}"

    appended = send(one, "one", 1, [1, "text", "a", None, 1])
    refused = [
        send(one, "one", 2, [2, "text", "b", None, 1]),
        send(two, "two", 1, [2, "text", "b", None, 1]),
        send(one, "one", 1, [2, "shout", "b", None, 1]),
    ]

    assert (appended, refused) == ("200 event_accepted", ["200 error"] * 3)
    entries = alice.get(f"/api/v1/jobs/{job_id}/stream?limit=9").json["entries"]
    assert [(entry["data"], entry["attempt"]) for entry in entries] == [("a", 1)]


def test_other_events_are_ignored(one: FakeWorker) -> None:
    body = {"worker_id": "one", "event_type": "of-my-own", "payload": {"n": 1}, "bubbling_chain": [], "priority": 0}

    assert one.client.post("/_worker/events", json=body).json == {"status": "event_ignored"}


def test_who_has_a_task_of_a_cancelled_job_hears_it_with_its_next_heartbeat(
    one: FakeWorker, job_id: str, alice: FlaskClient, move: Move
) -> None:
    one.register()
    task = one.poll().json
    before = one.beat(task["task_id"]).json

    alice.post(f"/api/v1/jobs/{job_id}/cancel")
    move()

    assert before == {"status": "ok"}
    assert one.beat(task["task_id"]).json == {"status": "ok", "cancel_task_ids": [task["task_id"]]}


def test_what_a_worker_answers_for_a_cancelled_job_is_noted_and_changes_nothing(
    one: FakeWorker, job_id: str, alice: FlaskClient, move: Move, store: Store
) -> None:
    task = one.poll().json
    alice.post(f"/api/v1/jobs/{job_id}/cancel")
    move()

    assert one.answer(task, status="cancelled").json == {"status": "accepted"}
    assert alice.get(f"/api/v1/jobs/{job_id}").json["status"] == "cancelled"


def test_a_poll_is_held_until_a_task_comes(one: FakeWorker, alice: FlaskClient, move: Move) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(one.poll(20)))
    thread.start()

    job_id = created_id(alice)
    move(*TO_ENCODE)
    thread.join(10)

    assert answers[0].json["job_id"] == job_id


def test_a_poll_whose_time_is_up_is_no_content(one: FakeWorker) -> None:
    begun = monotonic()

    response = one.poll(0)

    assert (response.status_code, response.data) == (204, b"")
    assert monotonic() - begun < 2


def test_a_poll_gets_only_tasks_of_the_skills_that_it_names(one: FakeWorker, job_id: str) -> None:
    assert one.poll(0.5, "decode,review").status_code == 204
    assert one.poll(0.5, "decode,encode").json["job_id"] == job_id


def test_a_poll_without_skills_gets_those_that_were_registered(one: FakeWorker, job_id: str) -> None:
    one.register()

    assert one.poll(1, None).json["job_id"] == job_id


def test_skills_of_workers_toml_bound_what_a_worker_gets(app: Flask, job_id: str) -> None:
    assert FakeWorker(app, "deaf", "token-of-worker-deaf").poll(0.5).status_code == 204


def test_a_worker_is_known_for_the_skills_that_it_may_do(app: Flask, one: FakeWorker, store: Store) -> None:
    deaf = FakeWorker(app, "deaf", "token-of-worker-deaf")

    assert deaf.register().status_code == 200
    assert one.register().status_code == 200

    assert store.registry.skills("deaf") == ()
    assert store.registry.skills("one") == ("encode",)


def test_the_limit_of_a_skill_holds_for_workers_over_http(
    one: FakeWorker, two: FakeWorker, store: Store, alice: FlaskClient, move: Move
) -> None:
    for worker in (one, two):
        worker.register(supported_skills=[{"name": "encode", "type": "encode", "concurrency": 1, "rate": "900/s"}])
    for _ in range(2):
        created_id(alice)
        move(*TO_ENCODE)

    first, none = one.poll(), two.poll(timeout=0.5)
    limit = store.limits.find("skill:encode")
    assert one.answer(first.json).status_code == 200
    second = two.poll()

    assert (first.status_code, none.status_code, second.status_code) == (200, 204, 200)
    assert (limit.source, limit.concurrency, limit.rate, limit.running) == ("worker", 1, 900, 1)


def test_of_many_polls_each_gets_one_task_and_no_task_goes_twice(app: Flask, alice: FlaskClient, move: Move) -> None:
    for _ in range(8):
        created_id(alice)
    for _ in range(8):
        move(*TO_ENCODE)
    answers: list[Any] = []

    def poll(number: int) -> None:
        answers.append(FakeWorker(app, f"w{number}", "the-shared-token").poll(3))

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    tasks = [answer.json["task_id"] for answer in answers if answer.status_code == 200]
    assert len(tasks) == len(set(tasks)) == 8
    assert [answer.status_code for answer in answers].count(204) == 2


def test_the_same_answer_again_is_a_success_and_another_one_is_ignored(
    one: FakeWorker, job_id: str, move: Move, store: Store
) -> None:
    task = one.poll().json
    raw = one.result(task, timestamp=1)

    answers = [one.send(raw), one.send(raw), one.answer(task, timestamp=2)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json["status"] for answer in answers] == ["accepted", "accepted", "ignored"]
    move()
    assert [note["event_type"] for note in store.notes(job_id)] == ["task_result_ignored"]


def test_a_result_of_who_does_not_hold_the_task_is_ignored_and_noted(
    one: FakeWorker, two: FakeWorker, job_id: str, store: Store
) -> None:
    task = one.poll().json

    answer = two.answer(task)

    assert answer.json["status"] == "ignored"
    [note] = store.notes(job_id)
    assert (note["worker_id"], note["task_id"]) == ("two", task["task_id"])
    assert one.answer(task).json == {"status": "accepted"}


def test_a_failure_and_an_outcome_that_nobody_knows_reach_the_job(
    one: FakeWorker, alice: FlaskClient, move: Move
) -> None:
    for _ in range(2):
        created_id(alice)
    for _ in range(2):
        move(*TO_ENCODE)
    first, second = one.poll().json, one.poll().json

    one.answer(first, status="failure", error={"code": "PERMANENT_ERROR", "message": "no"})
    one.answer(second, status="surprise")

    assert move().current_state == "failed"
    assert move().status == "quarantined"


def test_a_heartbeat_keeps_what_it_names(one: FakeWorker, job_id: str, redis_url: str) -> None:
    one.register()
    task = one.poll().json
    with redis.Redis.from_url(redis_url) as client:
        [pending] = client.xpending_range("{avt.g0}:q:encode:3", "avt", "-", "+", 10)
        client.xclaim("{avt.g0}:q:encode:3", "avt", "http:one", 0, [pending["message_id"]], idle=20_000, justid=True)

        beat = one.beat(task["task_id"])

        [pending] = client.xpending_range("{avt.g0}:q:encode:3", "avt", "-", "+", 10)
    assert (beat.status_code, beat.json) == (200, {"status": "ok"})
    assert (pending["consumer"], pending["times_delivered"]) == (b"http:one", 1)
    assert pending["time_since_delivered"] < 5_000


def test_a_heartbeat_of_a_stranger_is_not_found_until_it_registers(one: FakeWorker) -> None:
    before = one.beat()
    registered = one.register()
    after = one.client.patch("/_worker/workers/one")

    assert before.status_code == 404
    assert "not found" in before.text.lower()
    assert (registered.status_code, registered.json["status"]) == (200, "registered")
    assert (after.status_code, after.json) == (200, {"status": "ok"})


def test_a_task_that_no_heartbeat_knows_of_goes_to_the_next(
    one: FakeWorker, two: FakeWorker, job_id: str, redis_url: str
) -> None:
    one.register()
    task = one.poll().json
    one.beat()
    assert two.poll(0).status_code == 204
    with redis.Redis.from_url(redis_url) as client:
        client.hincrby(f"{{avt.g0}}:held:{task['task_id']}", "at", -3_500)

    one.beat()

    assert two.poll().json["task_id"] == task["task_id"]
    assert one.beat(task["task_id"]).json["cancel_task_ids"] == [task["task_id"]]
    assert one.answer(task).json["status"] == "ignored"


def test_a_worker_that_goes_hands_its_tasks_back_at_once(one: FakeWorker, two: FakeWorker, job_id: str) -> None:
    one.register()
    task = one.poll().json
    one.beat(task["task_id"])

    one.beat(status="offline", hands_back=True)

    assert two.poll().json["task_id"] == task["task_id"]


def test_a_result_may_come_after_the_good_bye(one: FakeWorker, two: FakeWorker, job_id: str) -> None:
    one.register()
    task = one.poll().json
    one.beat(task["task_id"])

    one.beat(status="offline")

    assert two.poll(0).status_code == 204
    assert one.answer(task).json == {"status": "accepted"}


@pytest.mark.parametrize(
    ("worker_id", "token"),
    [
        ("one", "wrong"),
        ("one", "token-of-worker-two"),
        ("one", "the-shared-token"),
        ("one", ""),
        ("", "the-shared-token"),
        ("o ne", "the-shared-token"),
    ],
)
def test_a_token_that_is_not_the_workers_is_refused_everywhere(app: Flask, worker_id: str, token: str) -> None:
    worker = FakeWorker(app, worker_id, token)
    task = {"job_id": "g0-1", "task_id": "g0-1.0.0"}

    assert worker.register().status_code == 401
    assert worker.client.patch("/_worker/workers/one", json={}).status_code == 401
    assert worker.client.get("/_worker/workers/one/tasks/next?timeout=0&available_skills=encode").status_code == 401
    assert worker.answer(task).status_code == 401
    assert worker.client.post("/_worker/auth/token").status_code == 403
    assert worker.client.post("/_worker/auth/token/refresh", json={"refresh_token": "x"}).status_code == 403


def test_a_refused_worker_is_logged_once_a_minute(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    for worker_id in ("one", "one", "two", "x" * 500):
        FakeWorker(app, worker_id, "planted-wrong-token").register()

    refused = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert refused == [
        f"worker {worker_id!r} rejected: this worker id and token do not match"
        for worker_id in ("one", "two", "x" * 128)
    ]


def test_the_shared_token_lets_others_in(app: Flask) -> None:
    assert FakeWorker(app, "anybody", "the-shared-token").register().status_code == 200


def test_a_worker_speaks_for_nobody_else(one: FakeWorker) -> None:
    assert one.client.patch("/_worker/workers/two", json={}).status_code == 401
    assert one.client.post("/_worker/workers/register", json={"worker_id": "two"}).status_code == 401


def test_a_clients_token_opens_nothing_here(alice: FlaskClient) -> None:
    assert alice.post("/_worker/workers/register", json={"worker_id": "alice"}).status_code == 401


def test_who_is_revoked_while_working_is_refused_and_its_result_writes_nothing(
    one: FakeWorker, job_id: str, store: Store, workers_toml: Path, clock: Clock
) -> None:
    one.register()
    task = one.poll().json

    replace(workers_toml, '[two]\ntoken = "token-of-worker-two"\n')
    clock.now += 2

    assert one.beat(task["task_id"]).status_code == 401
    assert one.answer(task).status_code == 401
    assert store.notes(job_id) == []


def test_a_poll_of_who_is_revoked_meanwhile_gets_no_task(
    one: FakeWorker, two: FakeWorker, alice: FlaskClient, move: Move, workers_toml: Path, clock: Clock
) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(one.poll(10)))
    thread.start()
    while not one.client.application.extensions["avtomatika.gateway"].polls.waiting:
        os.sched_yield()

    replace(workers_toml, '[two]\ntoken = "token-of-worker-two"\n')
    clock.now += 2
    assert one.beat().status_code == 401
    created_id(alice)
    move(*TO_ENCODE)

    assert two.poll(10).status_code == 200
    thread.join(10)
    assert answers[0].status_code == 401


@pytest.mark.parametrize(
    "change",
    [{"data": [1]}, {"data": "x"}, {"error": "x"}, {"status": 3}, {"attempt": "1"}, {"attempt": 0}, {"task_id": 1}],
)
def test_results_of_another_shape_are_refused_and_change_nothing(
    one: FakeWorker, job_id: str, change: dict[str, Any]
) -> None:
    task = one.poll().json

    refused = one.answer(task, **change)

    assert refused.status_code == 400
    assert refused.content_type == "application/json"
    assert set(refused.json) == {"error", "code"}
    assert one.answer(task).json == {"status": "accepted"}


def test_a_result_as_large_as_any_body_is_taken_and_a_larger_one_is_not(one: FakeWorker, job_id: str) -> None:
    task = one.poll().json

    assert one.answer(task, data={"x": "y" * (1024 * 1024 + 70_000)}).status_code == 413
    assert one.answer(task, data={"x": "y" * (1024 * 1024)}).status_code == 200


def test_polls_beyond_the_places_are_told_to_come_again(
    store: Store, clients: Clients, declare: Callable[[], None], gateway: Gateway
) -> None:
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare, gateway=gateway, held=HeldRequests(1))

    with app.extensions["avtomatika"].held.hold_slot("another", None, on_disconnect=lambda: None):
        response = FakeWorker(app, "one", "token-of-worker-one").poll(20)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


def test_an_event_is_taken_and_nothing_is_made_of_it(one: FakeWorker) -> None:
    body = {"event_id": "e", "worker_id": "one", "event_type": "progress", "payload": {"progress": 0.5}}

    assert one.client.post("/_worker/events", json=body).status_code == 200


def test_a_worker_that_registers_anew_keeps_what_it_says_it_has(
    one: FakeWorker, alice: FlaskClient, move: Move, redis_url: str
) -> None:
    created_id(alice)
    move(*TO_ENCODE)
    one.register()
    task_id = one.poll().json["task_id"]
    _age(redis_url, task_id)

    one.register(current_tasks=[task_id])
    kept = one.poll(timeout=0.3).status_code
    one.register()

    assert kept == 204
    assert one.poll().json["task_id"] == task_id


def _age(redis_url: str, task_id: str) -> None:
    """Set the delivery of the task to an earlier time."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"{{avt.g0}}:held:{task_id}", "at", 1)


# ---------------------------------------------------------------- own queues


@pytest.fixture
def give(redis_url: str) -> Iterator[Callable[..., None]]:
    """Put a task into a queue."""
    connection = broker.connect(redis_url)
    intake = Consumer(connection, [], prefetch=1)

    def give(queue: str, number: int = 1) -> None:
        task = wire.TaskMessage(
            job_id="g0-1",
            task_id=f"g0-1.{number}.0",
            attempt=1,
            task_type="encode",
            params={},
            outcomes=("success",),
            reply_exchange="avt.steps",
            reply_prefix=f"video@{PLANS[0].plan_hash}.encode",
            client="alice",
        )
        intake.settle_many([([Outgoing(TASKS, queue, wire.dump_task(task))], ())])

    yield give
    intake.close()
    connection.release()


def test_a_task_in_a_workers_own_queue_goes_to_that_worker_alone(
    app: Flask, one: FakeWorker, declare: Callable[[], None], give: Callable[..., None]
) -> None:
    declare()
    two = FakeWorker(app, "two", "token-of-worker-two")
    for worker in (one, two):
        worker.register()
    give("@one")

    assert two.poll(timeout=0.5).status_code == 204
    task = one.poll().json
    assert (task["task_id"], task["client"]) == ("g0-1.1.0", "alice")


def test_a_task_for_a_worker_that_is_not_asking_waits_until_it_does(
    app: Flask, one: FakeWorker, declare: Callable[[], None], give: Callable[..., None]
) -> None:
    declare()
    two = FakeWorker(app, "two", "token-of-worker-two")
    for worker in (one, two):
        worker.register()
        assert worker.poll(timeout=0).status_code == 204
    give("@one")
    give("encode", 2)

    assert two.poll().json["task_id"] == "g0-1.2.0"
    assert two.poll(timeout=0.5).status_code == 204
    assert one.poll().json["task_id"] == "g0-1.1.0"


def test_a_workers_own_queue_is_there_for_as_long_as_it_says_that_it_lives(
    one: FakeWorker, redis_url: str, clock: Clock
) -> None:
    one.register()
    with redis.Redis.from_url(redis_url) as client:
        client.hdel("{avt.g0}:queues", "@one")  # as after an hour in which it did not ask
        one.beat()
        before = client.hexists("{avt.g0}:queues", "@one")
        clock.now += 3600

        one.beat()

        assert (before, client.hexists("{avt.g0}:queues", "@one")) == (False, True)


def test_a_heartbeat_tells_what_the_worker_holds_of_not_too_many_files(one: FakeWorker, redis_url: str) -> None:
    one.register()
    told = one.beat(holds=["3ee06ab1fcc9"])
    one.beat()
    too_many = one.beat(holds=["3ee06ab1fcc9"] * 257)

    registry = WorkerRegistry.connect(redis_url)
    [worker] = registry.fleet(with_holdings=True)
    registry.close()
    assert (told.status_code, too_many.status_code) == (200, 400)
    assert worker.cached_files == {"3ee06ab1fcc9"}


# ---------------------------------------------------------------- who is there

#: As the public SDK sends it, with things in it that make no sense.
SDK_REGISTRATION = {
    "worker_id": "one",
    "worker_type": "t",
    "supported_skills": [
        {"name": "encode", "type": "encode", "input_schema": {"type": "object", "required": ["n"]}},
        {"name": "odd", "type": "odd", "input_schema": "no schema"},
    ],
    "available_skills": ["encode"],
    "resources": {
        "properties": {"cpu_cores": 4, "ram_gb": 0},
        "devices": [{"type": "gpu", "model": "A", "id": "0", "properties": {"memory_gb": 16}}, "no device"],
    },
    "capabilities": {
        "hostname": "vm",
        "cost_per_skill": {"encode": 0.5, "odd": "dear"},
        "extra": {"websockets": False},
    },
    "timestamp": 1_795_451_641,
}


def test_an_operator_sees_workers_with_all_that_they_said(app: Flask, operator: FlaskClient) -> None:
    one = FakeWorker(app, "one", "token-of-worker-one")
    one.client.post("/_worker/workers/register", json=SDK_REGISTRATION, headers={"X-RXON-Version": "1.0b17"})
    one.beat("g0-1.1.0", status="busy")

    [worker] = operator.get("/api/v1/workers").json["workers"]

    assert worker["last_heartbeat_at"] >= worker["registered_at"]
    del worker["last_heartbeat_at"], worker["registered_at"]
    assert worker == {
        "id": "one",
        "type": "t",
        "version": "rxon 1.0b17",
        "status": "busy",
        "standby": False,
        "running": 1,
        "tasks": [
            {"task_id": "g0-1.1.0", "job_id": "g0-1", "skill": None, "started_at": None, "running_ms": None},
        ],
        "concurrency": None,
        "drain_requested_at": None,
        "drain_requested_by": None,
        "skills": [
            {"name": "encode", "schema": {"type": "object", "required": ["n"]}},
            {"name": "odd", "schema": {"type": "object"}},
        ],
        "links": [],
        "switches": 0,
        "resources": {
            "properties": {"cpu_cores": 4, "ram_gb": 0},
            "devices": [{"type": "gpu", "model": "A", "id": "0", "memory_gb": 16}],
        },
        "costs": {"encode": 0.5},
        "reputation": 1.0,
    }


def test_a_drained_worker_of_any_kind_gets_no_task_and_is_told_so(
    app: Flask, operator: FlaskClient, job_id: str
) -> None:
    one = FakeWorker(app, "one", "token-of-worker-one")
    one.register()

    operator.post("/api/v1/workers/one/drain")
    wait_until(lambda: "drain" in one.beat().json)
    empty = one.poll(timeout=0.1)
    operator.post("/api/v1/workers/one/resume")
    wait_until(lambda: "drain" not in one.beat().json)
    task = one.poll().json

    assert empty.status_code == 204
    assert task["job_id"] == job_id


def test_a_worker_that_tries_a_token_that_is_not_valid_any_more_is_revoked(
    app: Flask, operator: FlaskClient, redis_url: str
) -> None:
    FakeWorker(app, "one", "token-of-worker-one").register()
    with redis.Redis.from_url(redis_url) as server:
        server.hincrby("{avt.g0}:worker:one", "at", -50_000)
        lost = operator.get("/api/v1/workers/one").json["status"]
        assert FakeWorker(app, "one", "an-older-token-of-worker-one").beat().status_code == 401

    assert (lost, operator.get("/api/v1/workers/one").json["status"]) == ("lost", "revoked")


def test_a_worker_that_says_good_bye_is_offline(app: Flask, operator: FlaskClient) -> None:
    one = FakeWorker(app, "one", "token-of-worker-one")
    one.register()
    one.beat(status="offline")

    assert operator.get("/api/v1/workers").json["workers"][0]["status"] == "offline"


@pytest.mark.parametrize("resources", ["many", ["gpu"], {"devices": {"type": "gpu"}}, {"properties": 3}])
def test_resources_that_make_no_sense_keep_nobody_out(
    app: Flask,
    resources: object,
    redis_url: str,
) -> None:
    one = FakeWorker(app, "one", "token-of-worker-one")

    answer = one.client.post(
        "/_worker/workers/register", json={**SDK_REGISTRATION, "resources": resources, "capabilities": None}
    )

    registry = WorkerRegistry.connect(redis_url)
    assert answer.status_code == 200
    assert registry.workers()[0].record["resources"] == {"properties": {}, "devices": []}
    registry.close()


# ---------------------------------------------------------------- tasks that came by the broker itself


@pytest.fixture
def taken(redis_url: str, job_id: str) -> Iterator[tuple[Consumer, broker.Delivery]]:
    """The task ``encode``, as a worker took it from the broker."""
    with broker.connect(redis_url) as connection:
        intake = Consumer(connection, ["encode"], prefetch=1)
        [delivery] = intake.take(5)
        yield intake, delivery
        intake.close()


def claim(taken: tuple[Consumer, broker.Delivery], **change: Any) -> dict[str, Any]:
    intake, delivery = taken
    task = wire.load_task(delivery.body)
    claimed = {"task_id": task.task_id, "attempt": 1, "ticket": task.ticket, "tag": delivery.tag} | change
    consumer = claimed.pop("consumer", intake.channel.router.consumer_name)
    return {"consumer": consumer, "tasks": [claimed]}


def adopt(worker: FakeWorker, claimed: dict[str, Any]) -> Any:
    return worker.client.post(f"/_worker/workers/{worker.id}/tasks/adopt", json={"worker_id": worker.id, **claimed})


def test_a_task_that_came_by_the_broker_is_kept_and_answered_over_http(
    one: FakeWorker, taken: tuple[Consumer, broker.Delivery], move: Move
) -> None:
    one.register()
    task = wire.load_task(taken[1].body)

    adopted = adopt(one, claim(taken))
    assert adopt(one, claim(taken)).json == adopted.json  # as if that had not arrived

    assert (adopted.status_code, adopted.json) == (200, {"adopted": [task.task_id]})
    assert one.beat(task.task_id).json == {"status": "ok"}
    taken[0].ack([taken[1].tag])  # the broker's worker has lost it
    answered = one.answer({"job_id": task.job_id, "task_id": task.task_id}, data={"url": "u"})
    assert answered.json == {"status": "accepted"}
    assert move().state_history["url"] == "u"


@pytest.mark.parametrize(
    "change",
    [
        {"ticket": "0" * 32},
        {"attempt": 2},
        {"task_id": "g0-1.1.0"},
        {"consumer": "somebody-else"},
        {"tag": "{avt.g0}:q:encode:3/0-1"},
        {"tag": "{avt.g0}:q:encode:3/rubbish"},
        {"tag": "{avt.g0}:queues/0-1"},
        {"tag": "nowhere"},
    ],
)
def test_who_was_not_given_a_task_cannot_adopt_it(
    one: FakeWorker, taken: tuple[Consumer, broker.Delivery], job_id: str, change: dict[str, Any]
) -> None:
    assert adopt(one, claim(taken, **change)).json == {"adopted": []}
    assert one.answer({"job_id": job_id, "task_id": wire.load_task(taken[1].body).task_id}).json["status"] == "ignored"


def test_a_worker_adopts_nothing_that_it_may_not_do(app: Flask, taken: tuple[Consumer, broker.Delivery]) -> None:
    assert adopt(FakeWorker(app, "deaf", "token-of-worker-deaf"), claim(taken)).json == {"adopted": []}


def test_a_worker_adopts_for_itself_alone(one: FakeWorker, taken: tuple[Consumer, broker.Delivery]) -> None:
    refused = one.client.post("/_worker/workers/two/tasks/adopt", json={"worker_id": "two", **claim(taken)})
    crossed = one.client.post("/_worker/workers/one/tasks/adopt", json={"worker_id": "two", **claim(taken)})

    assert [refused.status_code, crossed.status_code] == [401, 401]


def test_requests_with_a_wrong_token_write_nothing(one: FakeWorker, job_id: str, store: Store, redis_url: str) -> None:
    task = one.poll().json
    body = {"job_id": job_id, "task_id": task["task_id"], "worker_id": "one", "attempt": {"junk": "A" * 100_000}}
    requests = [
        ("POST", "/_worker/tasks/result", body),
        ("POST", "/_worker/workers/register", {"worker_id": "one", "supported_skills": []}),
        ("PATCH", "/_worker/workers/one", {"current_tasks": []}),
        ("GET", "/_worker/workers/one/tasks/next", None),
        ("POST", "/_worker/workers/one/tasks/adopt", {"worker_id": "one", "consumer": "c", "tasks": []}),
        ("POST", "/_worker/events", {"worker_id": "one", "event_type": "progress", "target_task_id": task["task_id"]}),
        ("POST", "/_worker/auth/token", {}),
        ("POST", "/_worker/auth/token/refresh", {"refresh_token": "made-up"}),
    ]
    headers = {"X-Worker-ID": "one", "X-Worker-Token": "wrong"}
    with redis.Redis.from_url(redis_url) as server:
        before = (
            {*server.keys()},
            server.hgetall(f"{{avt.g0}}:job:{job_id}"),
            server.lrange(f"{{avt.g0}}:job:{job_id}:history", 0, -1),
        )
        answers = [one.client.open(path, method=method, json=sent, headers=headers) for method, path, sent in requests]
        after = (
            {*server.keys()},
            server.hgetall(f"{{avt.g0}}:job:{job_id}"),
            server.lrange(f"{{avt.g0}}:job:{job_id}:history", 0, -1),
        )

    assert [answer.status_code for answer in answers] == [401] * 6 + [403] * 2
    assert after == before
    assert store.notes(job_id) == []


def test_a_result_is_noted_in_no_job_that_its_task_is_not_of(one: FakeWorker, job_id: str, store: Store) -> None:
    task = one.poll().json

    answer = one.answer({"job_id": job_id, "task_id": f"g0-another.{task['task_id'].split('.', 1)[1]}"})

    assert answer.json["status"] == "ignored"
    assert store.notes(job_id) == []
