"""Queues and dead letters, for operators."""

from __future__ import annotations

from typing import Any

from avtomatika.schemas.api_queues import (
    DeadLetterListSchema,
    DeadLetterQuerySchema,
    DeadLetterSchema,
    MessageListSchema,
    MessageQuerySchema,
    PurgeSchema,
    QueueListSchema,
)
from avtomatika.store import QueuedMessage

from ..auth import require_operator
from ..routes import Routes
from ..services import services

routes = Routes("queues", __name__, url_prefix="/api/v1", description="Look after queues")


@routes.get("/queues")
@routes.response(200, QueueListSchema)
def list_queues() -> dict[str, Any]:
    """List the queues with their figures; for operators"""
    require_operator()
    return {"queues": services().queues.all()}


@routes.get("/queues/<name>/messages")
@routes.arguments(MessageQuerySchema, location="query")
@routes.response(200, MessageListSchema)
def list_messages(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """List the messages that wait in a queue, the next one first; they stay there; for operators"""
    require_operator()
    return {"messages": services().queues.peek(name, **wanted)}


@routes.delete("/queues/<name>/messages")
@routes.response(200, PurgeSchema)
def purge_queue(name: str) -> dict[str, int]:
    """Remove the messages that wait in a queue, for good; their jobs are not notified; for operators"""
    require_operator()
    return {"removed": services().queues.purge(name)}


@routes.get("/dead-letters")
@routes.arguments(DeadLetterQuerySchema, location="query")
@routes.response(200, DeadLetterListSchema)
def list_dead_letters(wanted: dict[str, Any]) -> dict[str, Any]:
    """List messages that were given up, the newest first; for operators"""
    require_operator()
    return {"dead_letters": services().queues.dead(**wanted)}


@routes.get("/dead-letters/<letter_id>")
@routes.response(200, DeadLetterSchema)
def show_dead_letter(letter_id: str) -> QueuedMessage:
    """Show one of them; for operators"""
    require_operator()
    return services().queues.dead_letter(letter_id)


@routes.post("/dead-letters/<letter_id>/requeue")
@routes.response(200, DeadLetterSchema)
def requeue_dead_letter(letter_id: str) -> QueuedMessage:
    """Put one back into its queue, as if it had never been delivered; for operators"""
    require_operator()
    return services().queues.requeue(letter_id)


@routes.delete("/dead-letters/<letter_id>")
@routes.response(204)
def drop_dead_letter(letter_id: str) -> None:
    """Forget one; for operators"""
    require_operator()
    services().queues.drop(letter_id)
