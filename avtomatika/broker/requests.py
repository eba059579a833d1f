"""Messages about tasks that kombu and Celery programs publish to the queue of a skill."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avtomatika.core.plan import REQUESTS, WORKERS
from avtomatika.core.signing import Signer
from avtomatika.schemas import wire
from avtomatika.transport import ON_DEAD_HEADER, Outgoing

if TYPE_CHECKING:
    from .consumer import Delivery


#: Properties of a message with the address of its reply.
_REPLY = ("reply_to", "correlation_id")
#: Fields that a message of another program lacks.
_ENVELOPE = ("body", "v", "kind")


def request_message(
    delivery: "Delivery", error: wire.InvalidMessageError, *, worker_id: str = "", signer: Signer | None = None
) -> Outgoing:
    """Return the message that forwards *delivery*, which is not a task of ours, to the orchestrators.

    Raises *error* if it is an invalid message of ours, and another InvalidMessageError if it is not a documented
    message of other programs.
    """
    is_ours = ON_DEAD_HEADER in delivery.headers or error.field not in _ENVELOPE
    if is_ours or delivery.queue.startswith("@"):
        raise error
    request = wire.read_request(
        delivery.body,
        delivery.headers,
        delivery.properties,
        skill=delivery.queue,
        tag=delivery.tag,
        worker_id=worker_id,
    )
    headers = {name: delivery.headers[name] for name in ("task", "id") if name in delivery.headers}
    properties = {name: delivery.properties[name] for name in _REPLY if name in delivery.properties}
    body = wire.dump_task_request(request, signer)
    return Outgoing(WORKERS, REQUESTS, body, headers=headers, properties=properties)


def failure_reply(headers: Mapping[str, Any], properties: Mapping[str, Any], reason: str) -> Outgoing | None:
    """Return the reply that a task was refused for *reason*; None if no program waits for one."""
    reply = wire.reply_to(headers, properties)
    if reply is None:
        return None
    body = wire.dump_reply(reply, status="failed", error={"code": "INVALID_INPUT_ERROR", "message": reason})
    return Outgoing("", reply["queue"], body, properties={"correlation_id": reply["correlation_id"]})
