"""Webhooks on the real server to real receivers: told once, in order, signed, and never where they must not go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, PermanentError, broker
from avtomatika.broker import Consumer
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.job import Job
from avtomatika.core.plan import WEBHOOKS
from avtomatika.core.signing import GroupSecret
from avtomatika.orchestrator.webhooks.delivery import Webhooks
from avtomatika.orchestrator.webhooks.http_post import WebhookClient
from avtomatika.orchestrator.webhooks.ssrf import networks
from avtomatika.schemas import wire
from avtomatika.schemas.answers import Job as JobAnswer
from avtomatika.schemas.job_view import JobView
from avtomatika.schemas.responses import dump
from avtomatika.store import NewJob, WebhookRecords
from avtomatika.store.messages import webhook_message

from ..support.certificates import make_certificates
from ..support.orchestrators import Stage
from ..support.webhook_receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes that nobody has").decode()
LOOPBACK = networks(["127.0.0.0/8", "::1"])


def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.go_to(initial_data.get("to", "done"))


def work(actions: Any) -> None:
    actions.dispatch_task("carry", {}, transitions={"success": "done"})


def broken(actions: Any) -> None: ...


def done() -> dict[str, int]:
    return {"price": 7}


def failed() -> None: ...


bp = Blueprint(name="message")
bp.handler("start", is_start=True, may_go_to=["work", "done", "failed", "broken"])(start)
bp.handler(work)
bp.handler("broken", may_go_to=["done"])(broken)
bp.handler(is_end=True)(done)
bp.handler(is_end="failed")(failed)

parent = Blueprint(name="order")


@parent.handler(is_start=True)
def order(actions: Any) -> None:
    actions.run_blueprint("message", {"to": "work"}, transitions={"success": "sent"})


@parent.handler(is_end=True)
def sent() -> None: ...


class Post:
    """Orchestrators, a deliverer of webhooks, and receivers, all turned by the test."""

    def __init__(self, house: Stage, stack: ExitStack) -> None:
        self.house = house
        self.house.orchestrator()
        self._stack = stack
        self.server = redis.Redis.from_url(house.url)
        stack.callback(self.server.close)
        self._deliverers: list[Webhooks] = []

    def deliverer(self, *, secret: str | None = SECRET, **options: Any) -> None:
        connection = self._stack.enter_context(broker.connect(self.house.url))
        consumer = Consumer(connection, [WEBHOOKS], prefetch=50)
        self._stack.callback(consumer.close)
        client = WebhookClient(**({"timeout_seconds": 5, "allowed": LOOPBACK} | options))
        self._stack.callback(client.close)
        records = WebhookRecords(consumer.channel.server, consumer.channel.router)
        self._deliverers.append(Webhooks(consumer=consumer, records=records, client=client, secret=secret))

    def receiver(self, *args: Any, **options: Any) -> Receiver:
        made = Receiver(*args, **options)
        self._stack.callback(made.close)
        return made

    def create(self, url: str, blueprint: Blueprint = bp, **data: Any) -> str:
        new = NewJob(plan=blueprint.plan, client="me", initial_data=data, webhook_url=url, labels={"shop": "north"})
        return self.house.store.create(new).job_id

    def turn_until(self, reached: Callable[[], object], within_seconds: float = 20) -> None:
        deadline = monotonic() + within_seconds
        while not reached():
            assert monotonic() < deadline, f"not reached within {within_seconds} s"
            self.run_once()

    def run_once(self) -> None:
        for each in (*self.house.orchestrators, *self._deliverers):
            each.run_once()

    def hasten(self) -> None:
        """Whatever waits on the server for its time is due."""
        key = f"{{avt.g0}}:q:{WEBHOOKS}:delays"
        for name in self.server.zrange(key, 0, -1):
            self.server.zadd(key, {name: 0}, xx=True)

    def told(self, job_id: str) -> list[dict[str, Any]]:
        """What the history says of webhooks."""
        entries, _ = self.house.store.history(job_id)
        return [
            {"type": e.entry.event_type, **(e.entry.data or {})}
            for e in entries
            if e.entry.event_type.startswith("webhook_")
        ]

    def settled(self, job_id: str) -> bool:
        return any(each["type"] == "webhook_sent" or each.get("given_up") for each in self.told(job_id))


@pytest.fixture
def post(stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    for loop in ("loop", "webhooks.delivery"):  # they take turns here: neither is to wait for long
        monkeypatch.setattr(f"avtomatika.orchestrator.{loop}._IDLE_SECONDS", 0.02)
    with ExitStack() as stack:
        yield Post(stage(bp, parent, SINGLE_TASKS), stack)


# ---------------------------------------------------------------- what is told


def test_the_end_of_a_job_is_delivered_as_the_api_shows_it_and_signed(post: Post) -> None:
    post.deliverer()
    receiver = post.receiver()
    job_id = post.create(receiver.url("/hook?key=a%20b"))

    post.turn_until(lambda: post.settled(job_id))
    [request] = receiver.requests
    job = post.house.job(job_id)
    shown = dump(JobAnswer, JobView(job))
    told = request.json["data"]

    assert request.path == "/hook?key=a%20b"
    assert request.json["type"] == "job.finished"
    assert {name: told[name] for name in told if name != "updated_at"} == {
        name: shown[name] for name in told if name != "updated_at"
    }
    assert (told["result"], told["labels"], told["version"]) == ({"price": 7}, {"shop": "north"}, job.version)
    assert_signed(request.headers, request.body)


def assert_signed(headers: Any, body: bytes) -> None:
    """As a receiver checks it: the way of Standard Webhooks, with no code of ours."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_end_of_a_single_task_is_delivered(post: Post) -> None:
    post.deliverer()
    receiver = post.receiver()
    broker.declare_tasks(post.house.connection, ["carry"])
    new = NewJob(plan=SINGLE_TASKS.plan, client="me", skill="carry", webhook_url=receiver.url())
    job_id = post.house.store.create(new).job_id
    post.house.answer(post.house.take_task("carry"), data={"price": 7})

    post.turn_until(lambda: post.settled(job_id))
    [request] = receiver.requests

    assert (request.json["type"], request.json["data"]["result"]) == ("job.finished", {"price": 7})


def test_without_a_secret_webhooks_are_unsigned_and_this_is_logged_once(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.deliverer(secret=None)
    receiver = post.receiver()
    job_id, other = post.create(receiver.url()), post.create(receiver.url())

    post.turn_until(lambda: post.settled(job_id) and post.settled(other))

    assert "webhook-signature" not in receiver.requests[0].headers
    assert {request.headers["webhook-id"] for request in receiver.requests} == {f"{job_id}-1", f"{other}-1"}
    assert [record.message for record in caplog.records if "WEBHOOK_SECRET" in record.message] == [
        "WEBHOOK_SECRET is not set: webhooks are not signed"
    ]


def test_the_quarantine_of_a_child_is_delivered_to_its_parents_receiver(post: Post) -> None:
    post.deliverer()
    receiver = post.receiver()
    job_id = post.create(receiver.url(), parent)
    [child_id] = post.house.turn_until_status(job_id, "waiting_for_child").children
    post.house.turn_until_status(child_id, "waiting_for_worker")
    error = {"code": PermanentError.code, "message": "it is broken"}
    post.house.answer(post.house.take_task("carry"), status="failure", error=error)

    post.turn_until(lambda: post.settled(job_id))

    [request] = receiver.requests
    told = request.json["data"]
    assert (request.json["type"], told["id"], told["status"]) == ("job.child_quarantined", job_id, "waiting_for_child")
    assert told["error"]["child_id"] == child_id
    assert told["error"]["message"].endswith("is quarantined: it is broken")
    assert "child_quarantined order" in post.house.history(job_id)


def test_failure_error_cancel_and_quarantine_are_delivered(post: Post) -> None:
    post.deliverer()
    receiver = post.receiver()
    jobs = {to: post.create(receiver.url(), to=to) for to in ("failed", "broken", "work")}
    cancelled = post.create(receiver.url(), to="work")

    post.house.turn_until_status(jobs["work"], "waiting_for_worker")
    post.house.turn_until_status(cancelled, "waiting_for_worker")
    post.house.store.signal(post.house.job(cancelled), "cancel", by="me")
    post.house.turn_until_status(cancelled, "cancelled")
    post.house.answer(post.house.take_task("carry"), status="failure", error={"code": PermanentError.code})
    post.turn_until(lambda: all(map(post.settled, (*jobs.values(), cancelled))))

    events = {request.json["data"]["id"]: request.json["type"] for request in receiver.requests}
    assert events == {
        jobs["failed"]: "job.failed",
        jobs["broken"]: "job.error",
        jobs["work"]: "job.quarantined",
        cancelled: "job.cancelled",
    }


def test_a_job_without_a_url_sends_no_webhook(post: Post) -> None:
    job_id = post.house.create(bp)
    post.house.turn_until_status(job_id, "finished")

    assert post.server.xlen(f"{{avt.g0}}:q:{WEBHOOKS}:0") == 0


def test_the_history_numbers_on_and_keeps_the_version(post: Post) -> None:
    post.deliverer()
    job_id = post.create(post.receiver().url("/hook?token=secret"))

    post.turn_until(lambda: post.settled(job_id))
    entries, _ = post.house.store.history(job_id)
    job = post.house.job(job_id)

    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert (entries[-1].entry.event_type, entries[-1].version) == ("webhook_sent", job.version)
    assert entries[-1].entry.data == {
        "event": "job.finished",
        "url": str(job.webhook_url).partition("?")[0],
        "attempt": 1,
        "status": 200,
    }


# ---------------------------------------------------------------- again and again, in order


def test_a_failed_webhook_is_retried_with_the_same_id(post: Post) -> None:
    post.deliverer()
    statuses = iter([500, 429, 204])
    receiver = post.receiver(lambda _: next(statuses))
    job_id = post.create(receiver.url())

    post.turn_until(lambda: len(post.told(job_id)) == 1)
    for tries in (2, 3):
        post.hasten()
        post.turn_until(lambda tries=tries: len(post.told(job_id)) == tries)

    first, *others = receiver.requests
    told = post.told(job_id)
    assert [each["type"] for each in told] == ["webhook_failed", "webhook_failed", "webhook_sent"]
    assert told[0]["reason"] == "HTTP status 500"
    assert 4 <= told[0]["next_attempt_in_seconds"] <= 5 < told[1]["next_attempt_in_seconds"] <= 10
    assert [each["attempt"] for each in told] == [1, 2, 3]
    assert all((each.body, each.headers["webhook-id"]) == (first.body, f"{job_id}-1") for each in others)
    for request in receiver.requests:
        assert_signed(request.headers, request.body)


def test_the_webhooks_of_a_job_come_in_order(post: Post) -> None:
    post.deliverer()
    is_open: list[bool] = []
    receiver = post.receiver(lambda request: 200 if is_open else 503)
    job_id = post.create(receiver.url(), to="work")

    post.house.turn_until_status(job_id, "waiting_for_worker")
    post.house.answer(post.house.take_task("carry"), status="failure", error={"code": "PERMANENT_ERROR"})
    resting = post.house.turn_until_status(job_id, "quarantined")
    post.turn_until(lambda: post.told(job_id))
    post.house.store.signal(resting, "retry", by="me")
    post.house.turn_until_status(job_id, "waiting_for_worker")
    post.house.answer(post.house.take_task("carry"))
    post.house.turn_until_status(job_id, "finished")
    post.turn_until(lambda: post.server.hkeys(f"{{avt.g0}}:job:{job_id}:webhooks") == [b"2"])
    refused = list(receiver.events)
    is_open.append(True)
    post.hasten()
    post.turn_until(lambda: len(receiver.events) == 3)
    post.turn_until(lambda: [each["type"] for each in post.told(job_id)].count("webhook_sent") == 2)

    assert refused == ["job.quarantined"]
    assert receiver.events == ["job.quarantined", "job.quarantined", "job.finished"]


def test_after_a_day_a_webhook_is_abandoned_and_the_next_one_is_sent(post: Post) -> None:
    post.deliverer()
    receiver = post.receiver()
    job_id = post.house.create(bp)
    job = post.house.turn_until_status(job_id, "finished")
    late = message(job, receiver.url())
    post.turn_until(lambda: send(post, replace(late, at_ms=late.at_ms - 25 * 3600 * 1000)) or True)
    send(post, replace(late, number=2))

    post.turn_until(lambda: len(post.told(job_id)) == 2)

    assert post.told(job_id)[0]["reason"] == "not delivered within a day"
    assert post.told(job_id)[0]["given_up"] is True
    assert [request.headers["webhook-id"] for request in receiver.requests] == [f"{job_id}-2"]


def message(job: Job, url: str) -> wire.WebhookMessage:
    return wire.WebhookMessage.of(job.evolve(webhook_url=url, webhooks=1), version=job.version, now_ms=job.updated_ms)


def send(post: Post, webhook: wire.WebhookMessage, secret: GroupSecret | None = None) -> None:
    sent = webhook_message(webhook, secret or post.house.store.keyring.secret)
    with post.house.connection.Producer() as producer:
        producer.publish(
            sent.body,
            exchange=WEBHOOKS,
            routing_key=WEBHOOKS,
            content_type="application/json",
            content_encoding="utf-8",
        )


def test_what_a_deliverer_did_not_finish_another_one_does(post: Post) -> None:
    receiver = post.receiver()
    job_id = post.create(receiver.url())
    post.house.turn_until_status(job_id, "finished")
    with broker.connect(post.house.url, lease_seconds=1) as connection:
        consumer = Consumer(connection, [WEBHOOKS], prefetch=50)
        while not (held := consumer.take(0.2)):
            pass
        consumer.return_unstarted(held)
        consumer.close()
    post.deliverer()

    post.turn_until(lambda: post.settled(job_id))

    assert receiver.events == ["job.finished"]


# ---------------------------------------------------------------- receivers that are slow, dead, or odd


def test_a_receiver_that_never_responds_delays_no_other(post: Post) -> None:
    post.deliverer(timeout_seconds=60)
    silent, good = post.receiver(lambda _: None), post.receiver()
    for _ in range(100):
        post.create(silent.url())
    job_ids = [post.create(good.url()) for _ in range(20)]

    post.turn_until(lambda: all(map(post.settled, job_ids)))

    assert sorted(good.events) == ["job.finished"] * 20
    assert len(silent.requests) == 4  # so many at a time
    assert post.house.store.count("finished") == 120


def test_a_timeout_is_retried(post: Post) -> None:
    post.deliverer(timeout_seconds=0.3)
    receiver = post.receiver(lambda _: None)
    job_id = post.create(receiver.url())

    post.turn_until(lambda: post.told(job_id))

    assert post.told(job_id)[0]["reason"] == "no response within 0.3 s"
    assert "given_up" not in post.told(job_id)[0]


def test_a_response_sent_byte_by_byte_times_out(post: Post) -> None:
    post.deliverer(timeout_seconds=0.5)
    job_id = post.create(post.receiver(lambda _: (b"HTTP/1.1 200 OK\r\nX-Slow: ",)).url())

    post.turn_until(lambda: post.told(job_id))

    assert post.told(job_id)[0]["reason"] == "no response within 0.5 s"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "the response is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "response headers too large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "response headers too large"),
        (b"", "connection lost: closed without a response"),
    ],
)
def test_an_invalid_response_is_a_failure_with_its_reason(post: Post, answer: bytes, reason: str) -> None:
    post.deliverer()
    job_id = post.create(post.receiver(lambda _: answer).url())

    post.turn_until(lambda: post.told(job_id))

    assert post.told(job_id)[0]["reason"] == reason


def test_informational_responses_are_skipped(post: Post) -> None:
    post.deliverer()
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    job_id = post.create(post.receiver(lambda _: answer).url())

    post.turn_until(lambda: post.settled(job_id))

    assert post.told(job_id)[-1]["type"] == "webhook_sent"


def test_an_unreachable_receiver_is_retried(post: Post) -> None:
    post.deliverer()
    gone = post.receiver()
    url = gone.url()
    gone.close()
    job_id = post.create(url)

    post.turn_until(lambda: post.told(job_id))

    assert post.told(job_id)[0]["reason"].startswith("cannot connect: ")
    assert "given_up" not in post.told(job_id)[0]


def test_status_410_is_not_retried(post: Post) -> None:
    post.deliverer()
    job_id = post.create(post.receiver(lambda _: 410).url())

    post.turn_until(lambda: post.settled(job_id))

    assert post.told(job_id) == [
        {
            "type": "webhook_failed",
            "event": "job.finished",
            "url": post.told(job_id)[0]["url"],
            "attempt": 1,
            "reason": "HTTP status 410",
            "given_up": True,
        }
    ]


# ---------------------------------------------------------------- where it must not go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_refused_whatever_it_is_called(post: Post, host: str) -> None:
    post.deliverer(allowed=())
    receiver = post.receiver()
    job_id = post.create(receiver.url(host=host))

    post.turn_until(lambda: post.settled(job_id))

    assert receiver.requests == []
    assert post.told(job_id)[0]["reason"] == "it resolves to a private address that is not in WEBHOOK_ALLOW"
    assert post.told(job_id)[0]["given_up"] is True


def test_a_redirect_is_not_followed(post: Post) -> None:
    post.deliverer()
    inner = post.receiver()
    outer = post.receiver(lambda _: f"HTTP/1.1 307 Go\r\nLocation: {inner.url()}\r\n\r\n".encode())
    job_id = post.create(outer.url())

    post.turn_until(lambda: post.told(job_id))

    assert len(outer.requests) == 1
    assert inner.requests == []
    assert post.told(job_id)[0]["reason"] == "HTTP status 307; redirects are not followed"


def names(**addresses: list[str]) -> tuple[Any, list[str]]:
    """A name server that knows *addresses*, and the names that it was asked for."""
    asked: list[str] = []

    def look_up(host: str) -> list[str]:
        asked.append(host)
        return addresses[host.partition(".")[0]]

    return look_up, asked


def test_the_address_that_was_checked_is_the_one_that_is_called(post: Post) -> None:
    look_up, asked = names(shop=["127.0.0.1"])
    post.deliverer(look_up=look_up)
    receiver = post.receiver()
    job_id = post.create(receiver.url(host="shop.example"))

    post.turn_until(lambda: post.settled(job_id))

    assert asked == ["shop.example"]  # once: there is no second look-up that could lead elsewhere
    assert receiver.requests[0].headers["host"] == f"shop.example:{receiver.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse(post: Post) -> None:
    look_up, _ = names(shop=["93.184.215.14", "10.0.0.7"])
    post.deliverer(allowed=(), look_up=look_up)
    job_id = post.create("http://shop.example/hook")

    post.turn_until(lambda: post.settled(job_id))

    assert post.told(job_id)[0]["given_up"] is True


def test_a_certificate_must_be_trusted_and_the_names(
    post: Post, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "host.pem", folder / "host.key")
    receiver = post.receiver(tls=context)
    post.deliverer()
    stranger = post.create(receiver.url(host="localhost"))
    post.turn_until(lambda: post.told(stranger))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    post.deliverer()
    post._deliverers.pop(0)
    known, other_name = post.create(receiver.url(host="localhost")), post.create(receiver.url())

    post.turn_until(lambda: post.told(known) and post.told(other_name))

    assert post.told(stranger)[0]["reason"].startswith("invalid certificate: ")
    assert post.told(known)[0]["type"] == "webhook_sent"
    assert post.told(other_name)[0]["reason"].startswith("invalid certificate: ")


def test_an_unsigned_webhook_message_is_not_sent(post: Post) -> None:
    """Whoever reaches the broker would else have us sign, and send, what they like."""
    post.deliverer()
    receiver = post.receiver()
    job_id = post.create(receiver.url("/hook"))
    post.turn_until(lambda: post.settled(job_id))

    send(post, message(post.house.job(job_id), receiver.url("/evil")), GroupSecret("that of another group"))
    post.turn_until(lambda: post.server.xlen(f"{{avt.g0}}:q:{WEBHOOKS}:dead"))

    assert [request.path for request in receiver.requests] == ["/hook"]
