"""Orchestrators in slow motion: each message is taken, decided and committed as three steps, between which anything may
happen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from kombu import Connection

from avtomatika import Blueprint, broker
from avtomatika.broker import Delivery, Outgoing
from avtomatika.core.blueprint.action_types import (
    Action,
    AwaitApproval,
    DispatchTask,
    End,
    FanOut,
    GoTo,
    RunBlueprint,
    Wait,
)
from avtomatika.core.events import Event, Result, TaskTimeout
from avtomatika.core.job import Job, Json
from avtomatika.core.machine import decisions, machine
from avtomatika.core.plan import STEPS, TIMERS, WORKERS
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step
from avtomatika.orchestrator.branches import finished_branch, load_jobs
from avtomatika.orchestrator.unit_of_work import ReceivedEvent
from avtomatika.schemas import wire
from avtomatika.store import (
    BranchStatus,
    Cause,
    Commit,
    CommitReply,
    CommitStatus,
    FinishedBranch,
    NewJob,
    Store,
    Sweeper,
)
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.keys import make_tag
from avtomatika.transport.options import Options
from avtomatika.transport.publishing.publisher import Publisher

bp = Blueprint(name="slow")


@bp.handler(is_start=True, may_go_to=["split", "rest", "family"])
def first(actions: Any, where: str) -> None:
    if where != "tasks":
        actions.go_to(where)
    actions.dispatch_task("encode", {}, transitions={"success": "second", "failure": "failed"})


@bp.handler
def second(actions: Any) -> None:
    actions.go_to("third")


@bp.handler
def third(actions: Any) -> None:
    actions.dispatch_task("encode", {}, transitions={"success": "done"})


@bp.handler
def split(actions: Any) -> None:
    actions.dispatch_task("encode", {}, transitions={"success": "collect", "failure": "collect"})
    actions.dispatch_task("encode", {}, transitions={"success": "collect"})


@bp.aggregator
def collect(actions: Any) -> None:
    actions.go_to("done")


@bp.handler
def rest(actions: Any) -> None:
    actions.wait(100, then="ask")


@bp.handler
def ask(actions: Any) -> None:
    actions.await_human_approval("mail", "?", {"approved": "done", "rejected": "failed"}, timeout=100)


@bp.handler
def family(actions: Any) -> None:
    actions.run_blueprint("slow", {"kind": "split"}, {"success": "done", "failure": "failed", "cancelled": "failed"})


@bp.handler(is_end=True)
def done() -> None: ...


@bp.handler(is_end="failed")
def failed() -> None: ...


_BRANCH = DispatchTask(
    "encode",
    transitions={"success": "collect"},
    max_retries=1,
    dispatch_timeout_seconds=100,
    result_timeout_seconds=100,
)
#: Decisions of the handlers above. The first state's task has time limits, the third's has none.
ACTIONS: dict[str, Action] = {
    "split": FanOut(
        (
            replace(_BRANCH, transitions={"success": "collect", "failure": "collect", "timeout": "collect"}),
            _BRANCH,
            replace(_BRANCH, output_schema={"type": "object"}),
        ),
        "collect",
    ),
    "collect": GoTo("done"),
    "rest": Wait("ask", seconds=100),
    "ask": AwaitApproval("mail", "?", {"approved": "done", "rejected": "failed"}, timeout_seconds=100),
    "family": RunBlueprint("slow", {"kind": "split"}, {"success": "done", "failure": "failed", "cancelled": "failed"}),
    "first": DispatchTask(
        "encode",
        transitions={"success": "second", "failure": "failed"},
        max_retries=2,
        dispatch_timeout_seconds=100,
        result_timeout_seconds=100,
    ),
    "second": GoTo("third"),
    "third": DispatchTask("encode", transitions={"success": "done"}, max_retries=2),
    "done": End("fine"),
    "failed": End(),
}


#: The blueprint runs itself.
RULES = Rules(plans={"slow": bp.plan})
#: The state that a job of a kind enters from its first state; jobs of the kind ``tasks`` stay there.
KINDS = ("tasks", "split", "rest", "family")


@dataclass
class PendingDecision:
    """A decision that is not carried out yet: commit, finish a branch, or ignore the delivery with *note*."""

    orchestrator: SimulatedOrchestrator
    delivery: Delivery
    event: Event
    commit: Commit | None = None
    branch: FinishedBranch | None = None
    note: Json = None


class SimulatedOrchestrator:
    """One orchestrator: its consumer name, store, sweeper and publisher."""

    def __init__(self, name: str, server: RedisClient, client: redis.Redis) -> None:
        self.name = name
        router = Router(server, consumer_name=name)
        self.store = Store(server, router, job_ttl_seconds=3600)
        self.sweeper = Sweeper(server, router)
        self.sender = Publisher(server, router, Options(max_message_bytes=1 << 20, fanout_length=10))
        self._client = client

    def take(self, queue: str) -> Delivery | None:
        """The next message of *queue*, if there is one."""
        stream = stream_of(queue)
        found = self._client.xreadgroup("avt", self.name, {stream: ">"}, count=1)
        return _delivery(queue, *found[0][1][0]) if found else None

    def take_over(self, delivery: Delivery) -> Delivery | None:
        """Claim a delivery of the other orchestrator, as if its lease had expired; None if it is settled."""
        stream, entry = delivery.tag.rsplit("/", 1)
        found = self._client.xclaim(stream, "avt", self.name, 0, [entry])
        return delivery if found else None

    def decide(self, delivery: Delivery) -> PendingDecision | None:
        """Decide on the delivered event with the current job; None if the job does not exist."""
        received = ReceivedEvent(delivery, wire.load_event(delivery.body))
        event = received.event
        [loaded] = load_jobs({event.job_id: [received]}, store=self.store)
        if loaded is None:
            return None
        branch = finished_branch(received)
        if branch is not None:
            return PendingDecision(self, delivery, event, branch=branch)
        return self.decide_in_full(received, loaded.job)

    def decide_in_full(self, received: ReceivedEvent, job: Job) -> PendingDecision:
        """Have the machine decide."""
        delivery, event = received.delivery, received.event
        step = machine.advance(bp.plan, job, event, queue=delivery.queue)
        if step.note is not None:
            return PendingDecision(self, delivery, event, note=step.note)
        while step.enter is not None:
            step = step.then(
                decisions.decide(bp.plan, step.job, _action(step), queue=delivery.queue, patch={}, rules=RULES)
            )
        closes = (event.task_id, event.attempt) if isinstance(event, Result | TaskTimeout) else None
        cause = Cause(delivery.tag, event.id, closes)
        return PendingDecision(self, delivery, event, commit=Commit(job, step, (cause,)))

    def carry_out(self, pending: PendingDecision) -> CommitReply | None:
        """Commit, store the end of a branch, or ignore (None)."""
        if pending.branch is not None:
            return self._end_branch(pending, pending.branch)
        if pending.commit is None:
            self.store.ignore([(pending.delivery.tag, pending.event.job_id, pending.note)])
            return None
        [reply] = self.store.commit([pending.commit])
        return reply

    def _end_branch(self, pending: PendingDecision, branch: FinishedBranch) -> CommitReply | None:
        [(word, _)] = self.store.finish_branches([branch])
        if word is not BranchStatus.ORDINARY:
            return CommitReply(CommitStatus(word))
        received = ReceivedEvent(pending.delivery, pending.event)
        [loaded] = load_jobs({pending.event.job_id: [received]}, store=self.store)
        return None if loaded is None else self.carry_out(self.decide_in_full(received, loaded.job))

    def forward(self, delivery: Delivery) -> None:
        """Handle a delivery that is not an event of a job: a due timer, or a notice that a task has started."""
        if delivery.queue == WORKERS:
            self.store.record_taken([(delivery.tag, wire.load_notice(delivery.body))])
        else:
            due = wire.load_due_timer(delivery.body)
            self.publish(Outgoing(due.exchange, due.routing_key, due.body), acks=[delivery.tag])

    def publish(self, outgoing: Outgoing, acks: list[str] | None = None) -> None:
        self.sender.settle_all([([outgoing], acks or [])])

    def answer(self, task: wire.TaskMessage, attempt: int, status: str, code: str | None = None) -> None:
        """Publish a result, as a worker would."""
        error = None if code is None else {"code": code, "message": "told so"}
        result = Result(task.job_id, task.task_id, attempt, status, data={}, error=error, worker_id="w")
        self.publish(Outgoing(STEPS, f"{task.reply_prefix}.{status}", wire.dump_result(result, ticket=task.ticket)))


@dataclass
class Cluster:
    """Two orchestrators on one server, and all messages, timers and jobs on it."""

    connection: Connection
    server: RedisClient
    client: redis.Redis
    orchestrators: list[SimulatedOrchestrator] = field(default_factory=list)

    def clear(self) -> None:
        self.client.flushdb()
        broker.declare(self.connection, [bp.plan])
        for queue in (*step_queues(), TIMERS, WORKERS):
            self.client.xgroup_create(stream_of(queue), "avt", "0", mkstream=True)
        self.orchestrators = [
            SimulatedOrchestrator(f"orchestrator-{number}", self.server, self.client) for number in range(2)
        ]
        self.orchestrators[0].store.plans.announce([f"{bp.plan.blueprint}@{bp.plan.plan_hash}"])

    def create(self, kind: str) -> str:
        return self.orchestrators[0].store.create(NewJob(plan=bp.plan, client="me", initial_data={"kind": kind})).job_id

    def open_tasks(self, job_id: str) -> set[tuple[str, int]]:
        """Id and attempt of every task that the job waits for."""
        found = self.client.hgetall(f"{{avt.g0}}:job:{job_id}:tasks")
        return {(task.decode(), int(attempt)) for task, attempt in found.items() if b"/" not in task}

    def job(self, job_id: str) -> Job | None:
        return self.orchestrators[0].store.load(job_id)

    def entries(self, queue: str) -> list[Delivery]:
        """Everything that waits in *queue*, or is held."""
        return [_delivery(queue, entry, fields) for entry, fields in self.client.xrange(stream_of(queue))]

    def entries_of_events(self) -> list[Delivery]:
        return [entry for queue in (*step_queues(), TIMERS, WORKERS) for entry in self.entries(queue)]

    def tasks(self) -> list[tuple[str, wire.TaskMessage]]:
        """Entry id and message of every task that no worker has answered."""
        return [(each.tag.rsplit("/", 1)[1], wire.load_task(each.body)) for each in self.entries("encode")]

    def copy(self, delivery: Delivery) -> None:
        """Publish a message again, like a sender that missed the confirmation."""
        stream, entry = delivery.tag.rsplit("/", 1)
        [(_, fields)] = self.client.xrange(stream, entry, entry)
        self.client.xadd(stream, fields)

    def start_task(self, task: wire.TaskMessage) -> None:
        taken = wire.TaskStarted(task.job_id, task.task_id, task.attempt, "w", task.state)
        self.orchestrators[0].publish(Outgoing(WORKERS, broker.TAKEN, wire.dump_notice(taken)))

    def timers(self) -> list[str]:
        return [name.decode() for name in self.client.zrange("{avt.g0}:timers", 0, -1)]

    def expire_timer(self, timer: str) -> None:
        """Until *timer* is due."""
        self.client.zadd("{avt.g0}:timers", {timer: 0})
        self.orchestrators[0].sweeper.send_due_timers()

    def messages_of(self, job_id: str) -> Iterator[Event]:
        """Yield the events of a job in step queues and in the queue of due timers."""
        for queue in step_queues():
            yield from (event for event in map(_event, self.entries(queue)) if event.job_id == job_id)
        for due in self.entries(TIMERS):
            event = wire.load_event(wire.load_due_timer(due.body).body)
            if event.job_id == job_id:
                yield event


def step_queues() -> list[str]:
    return list(bp.plan.queues)


def stream_of(queue: str) -> str:
    return f"{{avt.g0}}:q:{queue}:0"


def _action(step: Step) -> Action:
    """Return the decision of the handler of the state that *step* enters."""
    kind = step.job.initial_data["kind"]
    return GoTo(kind) if step.enter == "first" and kind != "tasks" else ACTIONS[str(step.enter)]


def _event(delivery: Delivery) -> Event:
    return wire.load_event(delivery.body)


def _delivery(queue: str, entry: bytes, fields: dict[bytes, bytes]) -> Delivery:
    envelope, _, body = fields[b"p"].partition(b"\n")
    key = json.loads(envelope)["properties"]["delivery_info"]["routing_key"]
    return Delivery(make_tag(stream_of(queue), entry.decode()), queue, body, {}, 1, key)
