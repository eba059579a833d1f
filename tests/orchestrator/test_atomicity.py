"""Every script runs with a foreign value in each of its keys first: it writes everything or nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Exchange, Queue

from avtomatika import Blueprint
from avtomatika.core.job import HistoryEntry
from avtomatika.orchestrator import sweeps
from avtomatika.schemas import wire
from avtomatika.store import NewJob, NewLease, Session, Sessions, TaskLeases, WebhookRecords
from avtomatika.store.sessions import TokenPair
from avtomatika.transport import Inspector, Outgoing, RedisClient
from avtomatika.transport.scripts import Call

from ..support.orchestrators import Stage

#: Key -> (value as dumped, time to live in ms, value to compare: dumps of a hash vary in order).
Content = dict[bytes, tuple[bytes, int, Any]]
ROOT = Path(__file__).parents[2] / "avtomatika"
SCRIPTS = {
    path.read_text(): path.stem for room in ("store", "transport") for path in (ROOT / room / "lua").glob("*.lua")
}


class ForeignKeys:
    """Tries every call that the main thread sends to the server at *url*; other threads wait."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._lock = threading.RLock()
        #: Calls of one script with the same number of keys are equivalent: one is tried.
        self._shapes: set[tuple[str, int]] = set()
        #: Names of tried scripts, and partial writes.
        self.tried: set[str] = set()
        self.faults: set[str] = set()

    @contextmanager
    def before(self, calls: Sequence[Call]) -> Iterator[None]:
        with self._lock:
            if threading.current_thread() is threading.main_thread():
                for call in calls:
                    if isinstance(call, Call):  # the others are single commands
                        self._try(call)
            yield

    def _try(self, call: Call) -> None:
        name = next(name for text, name in SCRIPTS.items() if call.script.text.endswith(text))
        if (name, len(call.keys)) in self._shapes:
            return
        self._shapes.add((name, len(call.keys)))
        self.tried.add(name)
        before = self._content()
        for place, key in enumerate(dict.fromkeys(call.keys), start=1):
            self._client.delete(key)
            self._client.set(key, "foreign")
            self._try_once(call, f"{name}: key {place}, {key}, is a string")
            self._restore(before)
            self._client.delete(key)
            self._client.rpush(key, "foreign")
            self._try_once(call, f"{name}: key {place}, {key}, is a list")
            self._restore(before)

    def _try_once(self, call: Call, what: str) -> None:
        before = self._content()
        try:
            self._client.eval(call.script.text, len(call.keys), *call.keys, *call.args)
        except redis.ResponseError as error:
            after = self._content()
            wrote = [key.decode() for key in before.keys() | after.keys() if _value(before, key) != _value(after, key)]
            if wrote:
                self.faults.add(f"{what}: {error}, but it wrote {sorted(wrote)}")

    def _content(self) -> Content:
        keys = self._client.keys("{avt.g0}:*")
        pipeline = self._client.pipeline()
        for key in keys:
            pipeline.dump(key).pttl(key).type(key)
        answers = iter(pipeline.execute())
        content = {}
        for key in keys:
            dump, ttl_ms, kind = next(answers), next(answers), next(answers)
            content[key] = dump, ttl_ms, self._client.hgetall(key) if kind == b"hash" else dump
        return content

    def _restore(self, content: Content) -> None:
        pipeline = self._client.pipeline()
        pipeline.delete(*self._client.keys("{avt.g0}:*"))
        for key, (value, ttl_ms, _) in content.items():
            pipeline.restore(key, max(ttl_ms, 0), value)
        pipeline.execute()

    def close(self) -> None:
        self._client.close()


def _value(content: Content, key: bytes) -> Any:
    return content[key][2] if key in content else None


@pytest.fixture
def foreign_keys(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForeignKeys]:
    monkeypatch.setattr(sweeps, "_EXPIRY_EVERY_SECONDS", 0.1)
    tries = ForeignKeys(redis_url)
    run, run_all = RedisClient.run, RedisClient.run_all

    def tried_run(server: RedisClient, call: Call) -> Any:
        with tries.before([call]):
            return run(server, call)

    def tried_run_all(
        server: RedisClient, calls: Sequence[Call], *, on_sent: Callable[[], object] | None = None
    ) -> Any:
        with tries.before(calls):
            return run_all(server, calls, on_sent=on_sent)

    monkeypatch.setattr(RedisClient, "run", tried_run)
    monkeypatch.setattr(RedisClient, "run_all", tried_run_all)
    yield tries
    tries.close()


def family() -> tuple[Blueprint, Blueprint]:
    """Create a job that waits for a task, branches, an approval and a child."""
    parent, child = Blueprint("parent"), Blueprint("child")

    @parent.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.dispatch_task("dig", {}, transitions={"success": "split"}, result_timeout=60, dispatch_timeout=60)

    @parent.handler(may_go_to=["ask"])
    def split(actions: Any) -> None:
        tasks = [{"task_type": "dig"}, {"task_type": "dig"}, {"blueprint": "child"}, {"blueprint": "child"}]
        actions.dispatch_parallel(tasks, aggregate_into="ask")

    @parent.aggregator()
    def ask(actions: Any) -> None:
        actions.await_human_approval("mail", "?", transitions={"approved": "delegate"})

    @parent.handler()
    def delegate(actions: Any) -> None:
        actions.run_blueprint("child", {}, transitions={"success": "done"})

    @parent.handler(is_end=True)
    def done() -> None: ...

    @child.handler(is_start=True, is_end=True)
    def alone() -> None: ...

    return parent, child


def test_scripts_of_jobs(stage: Callable[..., Stage], foreign_keys: ForeignKeys) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    new = NewJob(plan=parent.plan, client="me", labels={"a": "b"}, idempotency_key="k")
    job_id = house.store.create(new, monthly=5).job_id
    for status in ("waiting_for_worker", "waiting_for_parallel", "waiting_for_parallel"):
        house.turn_until_status(job_id, status)
        house.answer(house.take_task("dig"), data={})
    house.turn_until_status(job_id, "waiting_for_human")
    house.store.decide(house.job(job_id), "approved", by="me")
    house.turn_until_status(job_id, "finished")
    house.store.registry.register("w", {"skills": []})
    house.store.registry.beat("w", {})
    house.store.registry.chosen(["w"])
    other_id = house.store.create(NewJob(plan=parent.plan, client="me", webhook_url="http://127.0.0.1/")).job_id
    house.store.signal(house.job(other_id), "cancel", by="me")
    house.turn_until_status(other_id, "cancelled")
    with house.connection.channel() as channel:
        message = channel.basic_get("avt.webhooks")
        records = WebhookRecords(channel.server, channel.router, keyring=house.store.keyring)
        records.settled(
            message.delivery_tag, wire.load_webhook(message.body, records.keyring.secret), HistoryEntry("x")
        )
    house.store._server.execute(("ZADD", "{avt.g0}:retention", 0, job_id))
    house.turn_until(lambda: house.store.load(job_id) is None)

    assert foreign_keys.faults == set()
    assert foreign_keys.tried >= {
        "create_jobs",
        "commit",
        "finish_branch",
        "decide_approval",
        "send_due_timers",
        "announce_plans",
        "register_worker",
        "choose_worker",
    }
    assert foreign_keys.tried >= {"heartbeat", "send_signal", "settle_webhook", "expire_job"}


def test_scripts_of_workers_over_http(stage: Callable[..., Stage], foreign_keys: ForeignKeys) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    house.turn_until_status(house.create(parent), "waiting_for_worker")
    delivery, task = house.take_task("dig")
    held, sessions = TaskLeases.connect(house.url), Sessions.connect(house.url)
    notice = Outgoing("avt.workers", "taken", "{}")

    assert house._tasks is not None
    assert held.lease(
        [NewLease(delivery.tag, task, "w", notice)], holder=house._tasks.channel.router.consumer_name
    ) == [True]
    assert held.renew(held.of("w")) == [True]
    [mine] = held.of("w")
    held.settle(mine, Outgoing("avt.workers", "taken", "{}"), digest="d")
    sessions.begin(Session("w", "basis"), TokenPair("a1", "r1"))
    sessions.refresh("r1", TokenPair("a2", "r2"))
    held.close()
    sessions.close()

    assert foreign_keys.faults == set()
    assert foreign_keys.tried >= {"lease_task", "renew_lease", "settle_lease", "refresh_session"}


def test_scripts_of_queues(stage: Callable[..., Stage], foreign_keys: ForeignKeys) -> None:
    house = stage()
    with house.connection.channel() as channel:
        channel.declare_many(exchanges={"work": "direct"}, queues=["q"], bindings=[("q", "work", "q")])
        channel.settle([Outgoing("work", "q", "{}"), Outgoing("work", "q", "{}", delay_seconds=60)], ())
        channel.settle([Outgoing("work", "q", "{}")], ())
        channel.basic_get("q").reject(requeue=True)
        channel.basic_get("q").reject()
        survey = Inspector(channel.server, channel.router)
        survey.requeue(survey.dead_letters(limit=1)[0])
        Queue("mortal", expires=60, message_ttl=60)(channel).declare()
        Queue("news", Exchange("news", "fanout"))(channel).declare()
        channel.settle([Outgoing("news", "", "{}"), Outgoing("", "mortal", "{}")], ())
        channel.basic_get("news").ack()
        channel.topology.unbind([("q", "work", "q")])
        channel.topology.purge("q")
        channel.topology.delete_queue("q")

    assert foreign_keys.faults == set()
    assert foreign_keys.tried >= {"declare", "settle", "take", "requeue", "dead_letter", "purge", "delete_queue"}
    assert foreign_keys.tried >= {
        "clean_up",
        "requeue_dead_letter",
        "set_limits",
        "add_trait",
        "read_fanout",
        "unbind",
        "reclaim",
    }
