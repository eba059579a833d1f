"""Queues and dead letters, for operators."""

from typing import Any

from avtomatika.schemas import server_answers as answers
from avtomatika.schemas.api_requests import DeadLetterQuerySchema, MessageQuerySchema
from avtomatika.schemas.responses import list_of
from avtomatika.store import QueuedMessage

from ..auth import caller, require_operator
from ..routes import Routes
from ..services import services

routes = Routes("queues", __name__, url_prefix="/api/v1", description="Manage queues")
routes.before_request(require_operator)


@routes.get("/queues")
@routes.response(200, list_of("queues", answers.QueueInfo))
def list_queues() -> dict[str, Any]:
    """List the queues with their message counts; for operators"""
    return {"queues": services().queues.all()}


@routes.get("/queues/<name>/messages")
@routes.arguments(MessageQuerySchema, location="query")
@routes.response(200, list_of("messages", answers.QueuedMessage))
def list_messages(wanted: dict[str, Any], name: str) -> dict[str, Any]:
    """List the messages that wait in a queue, the next one first, without removing them; for operators"""
    return {"messages": services().queues.peek(name, **wanted)}


@routes.delete("/queues/<name>/messages")
@routes.response(200, answers.Purge)
def purge_queue(name: str) -> dict[str, int]:
    """Delete the messages that wait in a queue; their jobs are not notified; for operators"""
    return {"removed": services().queues.purge(name)}


@routes.post("/queues/<name>/pause")
@routes.response(200, answers.QueueInfo)
def pause_queue(name: str) -> Any:
    """Let no consumer take from a queue until it is resumed; its messages wait in order; for operators"""
    return services().queues.set_paused(name, caller().name)


@routes.post("/queues/<name>/resume")
@routes.response(200, answers.QueueInfo)
def resume_queue(name: str) -> Any:
    """Let consumers take from a paused queue again; for operators"""
    return services().queues.set_paused(name)


@routes.get("/dead-letters")
@routes.arguments(DeadLetterQuerySchema, location="query")
@routes.response(200, list_of("dead_letters", answers.DeadLetter))
def list_dead_letters(wanted: dict[str, Any]) -> dict[str, Any]:
    """List dead letters, newest first; for operators"""
    return {"dead_letters": services().queues.dead(**wanted)}


@routes.get("/dead-letters/<letter_id>")
@routes.response(200, answers.DeadLetter)
def show_dead_letter(letter_id: str) -> QueuedMessage:
    """Show a dead letter; for operators"""
    return services().queues.dead_letter(letter_id)


@routes.post("/dead-letters/<letter_id>/requeue")
@routes.response(200, answers.DeadLetter)
def requeue_dead_letter(letter_id: str) -> QueuedMessage:
    """Put a dead letter back into its queue with its delivery count reset; for operators"""
    return services().queues.requeue(letter_id)


@routes.delete("/dead-letters/<letter_id>")
@routes.response(204)
def drop_dead_letter(letter_id: str) -> None:
    """Delete a dead letter; for operators"""
    services().queues.drop(letter_id)
