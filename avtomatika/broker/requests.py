"""Messages that kombu and Celery programs publish to the queue of a skill: forwarding and refusing them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.core.signing import Signer
from avtomatika.schemas import wire
from avtomatika.transport import ON_DEAD_HEADER, MessageTooLargeError, Outgoing

if TYPE_CHECKING:
    from .consumer import Consumer, Delivery

#: Fields that a message of another program lacks.
_ENVELOPE = ("body", "v", "kind")


def read_tasks(
    consumer: "Consumer", deliveries: Iterable["Delivery"], *, worker_id: str = "", signer: Signer | None = None
) -> tuple[list[tuple["Delivery", wire.TaskMessage]], list[Callable[[], object]]]:
    """Return the tasks among *deliveries*, and the actions for the others.

    The JSON of other programs is forwarded to the orchestrators as that of *worker_id*; anything else is dead-lettered.
    """
    tasks, actions = [], []
    for delivery in deliveries:
        try:
            tasks.append((delivery, wire.load_task(delivery.body)))
        except wire.InvalidMessageError as error:
            actions.append(_forward_or_dead_letter(consumer, delivery, error, worker_id, signer))
    return tasks, actions


def _forward_or_dead_letter(
    consumer: "Consumer", delivery: "Delivery", error: wire.InvalidMessageError, worker_id: str, signer: Signer | None
) -> Callable[[], object]:
    refuse = partial(consumer.dead_letter, delivery, reason="malformed", error=str(error))
    if ON_DEAD_HEADER in delivery.headers or error.field not in _ENVELOPE or delivery.queue.startswith("@"):
        return refuse
    headers = {name: value for name, value in delivery.headers.items() if name != "compression"}
    try:
        content = orjson.loads(delivery.body)
        request = wire.TaskRequest(worker_id, delivery.queue, delivery.tag, headers, delivery.properties, content)
        body = wire.dump_task_request(request, signer)
    except (ValueError, TypeError):  # it is nested too deeply to be written again
        return refuse
    forwarded = Outgoing(WORKERS, REQUESTS, body, headers=headers, properties=delivery.properties)

    def forward() -> None:
        try:
            consumer.settle_many([([forwarded], [delivery.tag])])
        except MessageTooLargeError as problem:
            consumer.dead_letter(delivery, reason="malformed", error=str(problem))

    return forward


def failure_reply(headers: Mapping[str, Any], properties: Mapping[str, Any], reason: str) -> Outgoing | None:
    """Return the reply that a task was refused for *reason*; None if no program waits for one."""
    if (reply := wire.reply_to(headers, properties)) is None:
        return None
    body = wire.dump_reply(reply, status="failed", error={"code": "INVALID_INPUT_ERROR", "message": reason})
    return Outgoing("", reply["queue"], body, properties={"correlation_id": reply["correlation_id"]})
