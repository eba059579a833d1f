"""Values that try to run, to reverse text or to be endless, in every place that pages show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from flask.testing import FlaskClient

from avtomatika import broker
from avtomatika.core.blueprint.action_types import AwaitApproval, DispatchTask, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store

from ...support.waiting import wait_until
from ..conftest import created_id

SCRIPT = "<script>alert(1)</script>"
BREAK_OUT = "</pre></textarea>\"'><img src=x onerror=alert(1)>"
#: Text that is shown in another order than it is written in, and characters that are not shown.
HIDDEN = "exe.\u202egnp\u2066\u0000\u001b[31m\u0085"
LARGE = "<&\"'\u202e" * 20_000

Move = Callable[..., Job]


def nested(levels: int) -> Any:
    value: Any = SCRIPT
    for _ in range(levels):
        value = {"<b>": [value]}
    return value


HOSTILE = {
    "text": {
        SCRIPT: BREAK_OUT,
        BREAK_OUT: SCRIPT,
        HIDDEN: HIDDEN,
        "large": LARGE,
        LARGE[:100_000]: 1,
        "deep": nested(30),
    },
    "wide": {f"key {number}": SCRIPT for number in range(10_000)},
    "wide and deep": {f"{first}": [list(range(50)) for _ in range(20)] for first in range(50)},
}


def with_data(value: dict[str, Any], operator: FlaskClient, move: Move) -> list[str]:
    """Create jobs with *value* as their data; return the paths of pages that show it."""
    ended = created_id(operator, initial_data=value)
    move(GoTo("encode"), End({"result": value}))
    asking = created_id(operator, initial_data=value)
    move(GoTo("encode"), AwaitApproval("mail", f"{SCRIPT}{LARGE}", {"approved": "publish", BREAK_OUT[:9]: "failed"}))
    queued = created_id(operator, initial_data=value)
    move(GoTo("encode"), DispatchTask("encode", value, transitions={"success": "publish"}))

    return [f"/jobs/{ended}", f"/jobs/{asking}", f"/jobs/{queued}", "/", "/jobs", "/approvals", "/queues/encode"]


def with_names(operator: FlaskClient, move: Move, store: Store, redis_url: str) -> list[str]:
    """Create a failed job, a worker, a queue and a dead letter with such names; return the paths of their pages."""
    label = f"{BREAK_OUT} \u202egnp {SCRIPT}"
    labels = {f"label-{number}": label for number in range(8)}
    for _ in range(50):
        created_id(operator, labels={f"{'n' * 56}-{number}": "\U0001d54f" * 128 for number in range(8)})
        move(raised="\u202e" * 300)
    broken = created_id(operator, labels=labels)
    move(raised=f"{SCRIPT}{LARGE}\n{BREAK_OUT}{LARGE}")
    worker = {
        "skills": [{"name": f"{BREAK_OUT}{HIDDEN}{number}"} for number in range(3000)],
        "version": SCRIPT,
    }
    store.registry.register(f"{BREAK_OUT}{HIDDEN}", worker)
    beat = {"status": SCRIPT, "unfit": {"reason": LARGE}, "links": [{"address": SCRIPT, "state": LARGE}] * 100}
    store.registry.beat(f"{BREAK_OUT}{HIDDEN}", beat)
    queue = f"{BREAK_OUT}{HIDDEN}"
    with broker.connect(redis_url) as connection:
        channel = connection.channel()
        channel.queue_declare(queue)
        with connection.Producer(channel) as producer:
            producer.publish(LARGE, routing_key=queue, content_type="text/plain")
            producer.publish(HOSTILE["text"], routing_key=queue)
        intake = broker.Consumer(connection, [queue], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason=SCRIPT, error=LARGE)
        intake.close()

    jobs = ["/", "/jobs", f"/jobs/{broken}", f"/jobs?{urlencode({'label': f'label-1={label}'})}"]
    return [*jobs, "/workers", "/queues", "/queues?idle=yes", f"/queues/{quote(queue)}", "/dead-letters"]
