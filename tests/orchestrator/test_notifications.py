"""Operators and clients are notified of jobs that wait for a person or are quarantined."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, PermanentError, broker
from avtomatika.broker import Consumer
from avtomatika.core.job import JobStatus
from avtomatika.core.plan import WEBHOOKS
from avtomatika.orchestrator.webhooks.delivery import Webhooks
from avtomatika.orchestrator.webhooks.http_post import WebhookClient
from avtomatika.orchestrator.webhooks.ssrf import networks
from avtomatika.schemas.webhooks import is_genuine
from avtomatika.store import NewJob, WebhookRecords

from ..support.orchestrators import Stage
from ..support.webhook_receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes that nobody has").decode()

bp = Blueprint(name="order")


@bp.handler(is_start=True)
def ask(actions: Any) -> None:
    actions.await_human_approval("mail", "Ship it?", transitions={"approved": "again", "rejected": "broken"})


@bp.handler
def again(actions: Any) -> None:
    actions.await_human_approval("mail", "Sure?", transitions={"approved": "done", "rejected": "broken"})


@bp.handler
def broken(actions: Any) -> None:
    actions.dispatch_task("carry", {}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done() -> None: ...


class Post:
    """An orchestrator that notifies, a deliverer, and the receivers of operators and of a client."""

    def __init__(self, stage: Stage, stack: ExitStack, *, notifies: bool = True) -> None:
        self.stage = stage
        self.operators, self.client = Receiver(), Receiver()
        for receiver in (self.operators, self.client):
            stack.callback(receiver.close)
        broker.declare_tasks(stage.connection, ["carry"])
        stage.orchestrator(notifies=notifies)
        consumer = Consumer(stack.enter_context(broker.connect(stage.url)), [WEBHOOKS], prefetch=50)
        stack.callback(consumer.close)
        client = WebhookClient(timeout_seconds=5, allowed=networks(["127.0.0.1"]))
        stack.callback(client.close)
        self.deliverer = Webhooks(
            consumer=consumer,
            records=WebhookRecords(consumer.channel.server, consumer.channel.router),
            client=client,
            secret=SECRET,
            notify_url=self.operators.url("/alerts/secret-part"),
        )

    def create(self, *, with_webhook: bool = True) -> str:
        url = self.client.url() if with_webhook else None
        return self.stage.store.create(NewJob(plan=bp.plan, client="me", webhook_url=url)).job_id

    def decide(self, job_id: str, decision: str) -> None:
        self.stage.store.decide(self.stage.job(job_id), decision, by="ann")

    def quarantine(self, job_id: str) -> None:
        """Reject the question, and let the task that follows fail without a transition for it."""
        self.decide(job_id, "rejected")
        self.turn_until(lambda: self.stage.job(job_id).status == JobStatus.WAITING_FOR_WORKER)
        error = {"code": PermanentError.code, "message": "it is broken"}
        self.stage.answer(self.stage.take_task("carry"), status="failure", error=error)

    def turn_until(self, reached: Callable[[], object]) -> None:
        def turn() -> object:
            self.deliverer.run_once()
            return reached()

        self.stage.turn_until(turn, 60)

    def told(self, job_id: str) -> list[Any]:
        entries, _ = self.stage.store.history(job_id)
        return [each.entry.data for each in entries if each.entry.event_type.startswith("webhook_")]


@pytest.fixture
def make_post(stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Post]]:
    for loop in ("loop", "webhooks.delivery"):
        monkeypatch.setattr(f"avtomatika.orchestrator.{loop}._IDLE_SECONDS", 0.02)
    with ExitStack() as stack:
        yield lambda **options: Post(stage(bp), stack, **options)


def test_each_wait_for_a_person_and_the_quarantine_are_told_to_client_and_operators(
    make_post: Callable[..., Post],
) -> None:
    post = make_post()
    job_id = post.create()
    post.turn_until(lambda: len(post.client.requests) == len(post.operators.requests) == 1)
    post.decide(job_id, "approved")
    post.turn_until(lambda: len(post.client.requests) == len(post.operators.requests) == 2)
    post.quarantine(job_id)
    post.turn_until(lambda: len(post.client.requests) == len(post.operators.requests) == 3)
    post.turn_until(lambda: len(post.told(job_id)) == 6)

    expected = ["job.waiting_for_human", "job.waiting_for_human", "job.quarantined"]
    assert post.client.events == post.operators.events == expected
    first, second, last = post.operators.requests
    assert [each.json["data"].get("waiting_for", {}).get("message") for each in (first, second, last)] == [
        "Ship it?",
        "Sure?",
        None,
    ]
    assert first.json["data"]["waiting_for"]["decisions"] == ["approved", "rejected"]
    assert last.json["data"]["error"]["message"].endswith("it is broken")
    assert first.path == "/alerts/secret-part"
    for request in (*post.operators.requests, *post.client.requests):
        sent = int(request.headers["webhook-timestamp"])
        assert is_genuine(request.headers, request.body, secret=SECRET, now=sent)
    ids = [request.headers["webhook-id"] for request in (*post.operators.requests, *post.client.requests)]
    assert len(set(ids)) == 6
    assert {each["url"] for each in post.told(job_id)} == {post.client.url(), "NOTIFY_WEBHOOK_URL"}


def test_operators_are_told_of_jobs_without_a_webhook_and_not_of_ends(make_post: Callable[..., Post]) -> None:
    post = make_post()
    job_id = post.create(with_webhook=False)
    post.turn_until(lambda: post.operators.requests)
    post.decide(job_id, "approved")
    post.turn_until(lambda: len(post.operators.requests) == 2)
    post.decide(job_id, "approved")
    post.turn_until(lambda: post.stage.job(job_id).status == JobStatus.FINISHED)
    post.turn_until(lambda: len(post.told(job_id)) == 2)

    assert post.operators.events == ["job.waiting_for_human"] * 2
    assert post.client.requests == []


def test_a_receiver_of_operators_that_fails_is_tried_again_and_delays_no_webhook(
    make_post: Callable[..., Post],
) -> None:
    post = make_post()
    post.operators.answer = lambda _: 500
    job_id = post.create()
    post.turn_until(lambda: post.client.requests and post.operators.requests)
    post.quarantine(job_id)
    post.turn_until(lambda: post.client.events[-1] == "job.quarantined")
    post.operators.answer = lambda _: 200
    with redis.Redis.from_url(post.stage.url) as server:

        def delivered() -> bool:
            key = f"{{avt.g0}}:q:{WEBHOOKS}:delays"
            for name in server.zrange(key, 0, -1):
                server.zadd(key, {name: 0}, xx=True)
            return sum("status" in each for each in post.told(job_id)) == 4

        post.turn_until(delivered)

    assert post.client.events == ["job.waiting_for_human", "job.quarantined"]
    reasons = [each["reason"] for each in post.told(job_id) if "reason" in each]
    assert set(reasons) == {"HTTP status 500"}


def test_without_the_setting_operators_are_not_notified(make_post: Callable[..., Post]) -> None:
    post = make_post(notifies=False)
    job_id = post.create()
    post.turn_until(lambda: len(post.told(job_id)) == 1)

    assert (len(post.client.requests), post.operators.requests) == (1, [])
