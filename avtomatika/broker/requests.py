"""Messages that kombu and Celery programs publish to the queue of a skill: forwarding and refusing them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.core.signing import Signer
from avtomatika.schemas import wire
from avtomatika.transport import ON_DEAD_HEADER, Outgoing

if TYPE_CHECKING:
    from .consumer import Consumer, Delivery

#: Fields that a message of another program lacks.
_ENVELOPE = ("body", "v", "kind")


def forward_or_dead_letter(
    consumer: "Consumer",
    delivery: "Delivery",
    error: wire.InvalidMessageError,
    *,
    worker_id: str = "",
    signer: Signer | None = None,
) -> Callable[[], object]:
    """Return the action for *delivery*, which *error* says is not a task of ours.

    A documented message of another program is forwarded to the orchestrators, any other is dead-lettered.
    """
    try:
        if ON_DEAD_HEADER in delivery.headers or error.field not in _ENVELOPE or delivery.queue.startswith("@"):
            raise error
        forwarded = Outgoing(
            WORKERS,
            REQUESTS,
            wire.dump_task_request(_read(delivery, worker_id), signer),
            headers={name: delivery.headers[name] for name in ("task", "id") if name in delivery.headers},
            properties=delivery.properties,  # for the reply if an orchestrator refuses it
        )
    except wire.InvalidMessageError as problem:
        return partial(consumer.dead_letter, delivery, reason="malformed", error=str(problem))
    return partial(consumer.settle_many, [([forwarded], [delivery.tag])])


def _read(delivery: "Delivery", worker_id: str) -> wire.TaskRequest:
    where = {"skill": delivery.queue, "tag": delivery.tag, "worker_id": worker_id}
    return wire.read_request(delivery.body, delivery.headers, delivery.properties, **where)


def failure_reply(headers: Mapping[str, Any], properties: Mapping[str, Any], reason: str) -> Outgoing | None:
    """Return the reply that a task was refused for *reason*; None if no program waits for one."""
    reply = wire.reply_to(headers, properties)
    if reply is None:
        return None
    body = wire.dump_reply(reply, status="failed", error={"code": "INVALID_INPUT_ERROR", "message": reason})
    return Outgoing("", reply["queue"], body, properties={"correlation_id": reply["correlation_id"]})
