"""Wishes and decisions of people: cancel a job, have one go on from quarantine, approve what it asks.

They travel as messages, as all that moves a job.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Literal

from avtomatika.core.events import Decision, Signal
from avtomatika.core.job import HistoryEntry, Job, WaitRecord
from avtomatika.core.machine.machine import expiry_token
from avtomatika.core.machine.waits import decision_data, decisions
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.errors import ConflictError, InvalidRequestError, NotFoundError
from avtomatika.transport import Router
from avtomatika.transport.scripts import Call

from .entries import dump_entry
from .keys import Keys
from .messages import prefix_of, signal_key, step_message
from .scripts import DECIDE_APPROVAL, SEND_SIGNAL

Wish = Literal["cancel", "retry", "expire"]

#: Why a wish cannot be granted any more.
REFUSALS = {
    "cancel": "the job is over already: {}",
    "retry": "the job does not rest in quarantine: it is {}",
    "expire": "the job does not rest in quarantine: it is {}",
}
#: Why a wish is refused that somebody else had a moment before.
SENT = {
    "cancel": "the job is being cancelled already",
    "retry": "the job is being retried already",
    "expire": "the job is being given up already",
}
#: For how long a wish counts as sent: after that it was lost, or no orchestrator runs, and it can be sent again.
_WISH_MS = 30_000


def new_signal(job: Job, wish: Wish, by: str) -> Signal:
    """A wish that is told from every other one."""
    return Signal(job.id, wish, by, expiry_token(job) if wish == "expire" else token_hex(8))


def signal_call(job: Job, signal: Signal, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """The call that sends *signal*. Raises NoRouteError of the transport where the job's plan is bound nowhere."""
    message = step_message(SendEvent(signal_key(job), signal), secret)
    route = router.route(message.exchange, message.routing_key)
    call_keys = [keys.job(job.id), route.bindings_key, router.stream(route.queues[0], message.priority)]
    args = [signal.wish, int(signal.wish != "cancel"), _WISH_MS, route.version, router.encode(message)]
    return Call(SEND_SIGNAL, call_keys, args)


def new_decision(job: Job, decision: str, *, by: str, comment: str | None) -> Decision:
    """What *by* decides of the approval that *job* waits for; InvalidRequestError for a word that is not asked for."""
    pause = approval_of(job)
    if pause is None:
        raise ValueError(f"job {job.id} asks nobody")
    if decision not in decisions(pause):
        known = ", ".join(decisions(pause))
        message = f"{decision!r} is not a decision here; there are {known}"
        raise InvalidRequestError(message, fields={"decision": [f"must be one of: {known}"]})
    return Decision(job.id, pause.token, decision, by, comment)


def approval_of(job: Job) -> WaitRecord | None:
    """The approval that *job* waits for."""
    return job.pause if job.pause is not None and job.pause.kind == "approval" else None


def too_late(job: Job, token: str | None, decided: str) -> ConflictError:
    """Why *job* does not ask what *token* names, or nothing at all; *decided* is the last decision that was taken."""
    of, _, words = decided.partition(" ")
    if words and of == token:
        return ConflictError(f"it was decided already: {words}")
    if token is not None:
        return ConflictError(f"the job does not wait for this decision any more: it is {job.status}")
    last = f"; the last one was: {words}" if words else ""
    return ConflictError(f"the job does not wait for a decision: it is {job.status}{last}")


def decide_call(job: Job, decision: Decision, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """The call that takes *decision*. Raises NoRouteError of the transport where the job's plan is bound nowhere."""
    message = step_message(SendEvent(f"{prefix_of(job, str(job.current_state))}._approval", decision), secret)
    route = router.route(message.exchange, message.routing_key)
    stream = router.stream(route.queues[0], message.priority)
    taken = f"{decision.decision} by {decision.by}"
    entry = HistoryEntry("decision_made", state=job.current_state, data=decision_data(decision))
    return Call(
        DECIDE_APPROVAL,
        [keys.job(job.id), route.bindings_key, stream, keys.history(job.id)],
        [decision.token, taken, route.version, router.encode(message), dump_entry(entry)],
    )


def check_decided(job: Job, word: bytes, told: str) -> None:
    """Raise what the script's answer to :func:`decide_call` means, if it did not take the decision."""
    match word:
        case b"GONE":
            raise NotFoundError("job", job.id)
        case b"DECIDED":
            raise ConflictError(f"it was decided already: {told}")
        case b"OVER":
            raise ConflictError(f"the job does not wait for this decision any more: it is {told}")
