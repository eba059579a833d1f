"""kombu and Celery programs publish tasks to the queues of skills, and receive the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import requests
from celery import Celery
from celery.exceptions import TaskRevokedError
from kombu import Connection, Consumer, Exchange, Queue, pools

from ..support.installation import Installation
from ..support.waiting import wait_until

LIMIT_SECONDS = 30
TRANSPORT = "avtomatika.transport:Transport"

pytestmark = pytest.mark.faults


@pytest.fixture(params=["redis", "http"])
def installation(redis_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The worker is on the broker, or connects over HTTP."""
    made = Installation(redis_url, tmp_path, blueprint="arithmetic", WORKER_TOKEN="token-of-the-workers")
    if request.param == "http":
        made._env["ORCHESTRATOR_URL"] = made.base_url
    with made:
        yield made


@pytest.fixture
def celery(redis_url: str) -> Iterator[Celery]:
    """A stock Celery client."""
    app = Celery("shop", broker=redis_url, backend="rpc://")
    app.conf.broker_transport = TRANSPORT
    with ExitStack() as stack:
        stack.callback(pools.reset)
        stack.callback(app.close)
        yield app
        app.backend.result_consumer.stop()  # Celery leaves its connection open; the leases of tests are shorter


class KombuProgram:
    """A bare kombu program with a queue for replies."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._connection = stack.enter_context(Connection(url, transport=TRANSPORT))
        self.replies = Queue(f"replies.{uuid4()}", auto_delete=True)
        self._received: dict[str, Any] = {}
        channel = self._connection.channel()
        consumer = Consumer(channel, [self.replies], callbacks=[self._on_reply], accept=["json"])
        stack.enter_context(consumer)

    def send(self, skill: str, params: Any, **properties: Any) -> str:
        """Publish a task; return its correlation id."""
        correlation_id = str(uuid4())
        queue = Queue(skill, Exchange("avt.tasks"), routing_key=skill)
        with self._connection.Producer() as producer:
            producer.publish(
                params,
                exchange="avt.tasks",
                routing_key=skill,
                declare=[queue],
                reply_to=self.replies.name,
                correlation_id=correlation_id,
                **properties,
            )
        return correlation_id

    def reply(self, correlation_id: str) -> Any:
        def received() -> bool:
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=0.2)
            return correlation_id in self._received

        wait_until(received, LIMIT_SECONDS, "a reply")
        return self._received[correlation_id]

    def _on_reply(self, body: Any, message: Any) -> None:
        self._received[message.properties["correlation_id"]] = body
        message.ack()


@pytest.fixture
def program(redis_url: str) -> Iterator[KombuProgram]:
    with ExitStack() as stack:
        yield KombuProgram(redis_url, stack)


def test_a_kombu_program_calls_a_skill(installation: Installation, program: KombuProgram) -> None:
    done, failed = program.send("add", {"x": 2, "y": 3}, priority=5), program.send("divide", {"x": 1, "y": 0})
    invalid, array = program.send("add", {"x": "two"}), program.send("add", [1, 2])
    text = program.send("add", "a text")

    reply = program.reply(done)
    assert (reply["status"], reply["result"], reply["error"]) == ("finished", 5, None)
    job = installation.client().job(reply["job_id"])
    assert (job["skill"], job["client"], job["priority"]) == ("add", "_broker", 5)
    url = f"{installation.base_url}/api/v1/jobs?client=_broker&status=finished"
    listed = requests.get(url, headers={"X-Client-Token": installation.token}, timeout=10).json()["jobs"]
    assert [each["id"] for each in listed] == [reply["job_id"]]
    reply = program.reply(failed)
    assert (reply["status"], reply["error"]["code"]) == ("failed", "PERMANENT_ERROR")
    assert reply["error"]["message"] == "division by zero"
    assert program.reply(invalid)["error"]["code"] == "INVALID_INPUT_ERROR"
    assert "must be a JSON object with the params" in program.reply(array)["error"]["message"]
    assert "content type 'text/plain'" in program.reply(text)["error"]["message"]


def test_a_celery_client_calls_a_skill(installation: Installation, celery: Celery) -> None:
    by_name = celery.send_task("add", kwargs={"x": 2, "y": 3}, queue="add")
    by_position = celery.send_task("shop.add", args=[20, 3], queue="add", countdown=0.5, priority=3)
    failed = celery.send_task("divide", args=[1], kwargs={"y": 0}, queue="divide")
    unknown = celery.send_task("subtract", args=[1], queue="add")
    crowded = celery.send_task("add", args=[1, 2, 3], queue="add")

    assert by_name.get(timeout=LIMIT_SECONDS) == 5
    assert by_position.get(timeout=LIMIT_SECONDS) == 23
    with pytest.raises(Exception, match="division by zero") as raised:
        failed.get(timeout=LIMIT_SECONDS)
    assert (type(raised.value).__name__, failed.status) == ("PERMANENT_ERROR", "FAILURE")
    with pytest.raises(Exception, match="'subtract', but must be 'add', the skill of the queue"):
        unknown.get(timeout=LIMIT_SECONDS)
    with pytest.raises(Exception, match="the parameters of the skill 'add' are: x, y"):
        crowded.get(timeout=LIMIT_SECONDS)


def test_a_cancelled_task_is_revoked_for_its_celery_client(
    installation: Installation, celery: Celery, redis_url: str
) -> None:
    waiting = celery.send_task("rest", args=[0.1], queue="rest", countdown=3600)
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        [job_id] = _until(lambda: server.zrange("{avt.g0}:jobs:client:_broker", 0, -1))

    installation.client().cancel(job_id)

    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=LIMIT_SECONDS)


def test_chains_are_refused(installation: Installation, celery: Celery) -> None:
    chain = celery.signature("add", args=[1, 2], queue="add") | celery.signature("add", args=[3], queue="add")
    result = chain.apply_async()

    with pytest.raises(Exception, match="without callbacks, chains and chords"):
        result.parent.get(timeout=LIMIT_SECONDS)


def _until(found: Callable[[], Any]) -> Any:
    wait_until(found, LIMIT_SECONDS, "something found")
    return found()


def test_every_task_is_done_and_answered_once_while_processes_are_killed(
    installation: Installation, celery: Celery, redis_url: str
) -> None:
    sent = []
    for number in range(300):
        sent.append(celery.send_task("add", args=[number], queue="add"))
        if number % 100 == 50:
            installation.restart("orchestrator")
        if number % 100 == 80:
            installation.restart("worker")

    assert [result.get(timeout=2 * LIMIT_SECONDS) for result in sent] == [number + 1 for number in range(300)]
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        assert server.zcard("{avt.g0}:jobs:client:_broker") == 300
        assert not server.keys("{avt.g0}:q:*:dead")
