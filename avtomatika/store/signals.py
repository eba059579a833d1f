"""Requests and decisions of users: cancel a job, retry or expire a quarantined one, decide an approval.

They are sent as messages, like everything that changes a job.
"""

from collections.abc import Sequence
from secrets import token_hex
from typing import Literal

from avtomatika.core.events import Decision, Signal
from avtomatika.core.job import HistoryEntry, Job, Json, WaitRecord
from avtomatika.core.machine.machine import expiry_token
from avtomatika.core.machine.waits import check_decision, decision_data
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.errors import AvtomatikaError, ConflictError, NotFoundError
from avtomatika.transport import Router
from avtomatika.transport.scripts import Call

from .entries import dump_entry
from .keys import Keys
from .messages import prefix_of, signal_key, step_message
from .scripts import DECIDE_APPROVAL, SEND_SIGNAL

Wish = Literal["cancel", "retry", "expire"]

#: Error messages for requests that the status of the job does not allow.
_REFUSALS = {
    "cancel": "the job is already {}",
    "retry": "the job is not quarantined: it is {}",
    "expire": "the job is not quarantined: it is {}",
}
#: Error messages for requests that were sent a moment before.
_SENT = {
    "cancel": "the job is already being cancelled",
    "retry": "the job is already being retried",
    "expire": "the job is already being expired",
}
#: Time in which the same request is rejected. After that it was lost or no orchestrator runs: it can be sent again.
_RESEND_AFTER_MS = 30_000


def new_signal(job: Job, wish: Wish, by: str) -> Signal:
    """Return a signal with a unique token."""
    return Signal(job.id, wish, by, expiry_token(job) if wish == "expire" else token_hex(8))


def signal_call(job: Job, signal: Signal, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """Return the call that sends *signal*. Raises the transport's NoRouteError if the plan has no queue."""
    keys = keys.of(job.id)
    router = router.of(keys.prefix)
    message = step_message(SendEvent(signal_key(job), signal), secret)
    route = router.route(message.exchange, message.routing_key)
    call_keys = [keys.job(job.id), route.bindings_key, router.stream(route.queues[0], message.priority)]
    args = [signal.wish, int(signal.wish != "cancel"), _RESEND_AFTER_MS, route.version, router.encode(message)]
    return Call(SEND_SIGNAL, call_keys, args)


def new_decision(job: Job, decision: str, *, by: str, comment: str | None, data: Json = None) -> Decision:
    """Return the decision of *by* on the approval of *job*. Raises InvalidRequestError if *decision* is not offered or
    *data* does not fit the form, ConflictError if the job waits for none."""
    wait = approval_of(job)
    if wait is None:
        raise too_late(job, None, "")
    check_decision(wait, decision, data)
    return Decision(job.id, wait.token, decision, by, comment, data)


def approval_of(job: Job) -> WaitRecord | None:
    """Return the approval that *job* waits for."""
    return job.wait if job.wait is not None and job.wait.kind == "approval" else None


def too_late(job: Job, token: str | None, decided: str) -> ConflictError:
    """Return the error for a *job* that does not wait for the approval *token*; *decided* is its last decision."""
    of, _, words = decided.partition(" ")
    if words and of == token:
        return ConflictError(f"already decided: {words}")
    if token is not None:
        return ConflictError(f"the job no longer waits for this decision: it is {job.status}")
    last = f"; its last decision: {words}" if words else ""
    return ConflictError(f"the job does not wait for a decision: it is {job.status}{last}")


def decide_call(job: Job, decision: Decision, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """Return the call that records *decision*. Raises the transport's NoRouteError if the plan has no queue."""
    keys = keys.of(job.id)
    router = router.of(keys.prefix)
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


def signal_error(wish: Wish, job: Job, reply: Sequence[bytes]) -> AvtomatikaError | None:
    """Return the error that the script of :func:`signal_call` replied, if it did not send the signal."""
    status, detail = reply[0], reply[1].decode()
    match status:
        case b"GONE" if not job.status.is_final:
            return NotFoundError("job", job.id)
        case b"GONE" | b"REFUSED":  # an archived job is gone
            return ConflictError(_REFUSALS[wish].format(detail or job.status))
        case b"SENT":
            return ConflictError(_SENT[wish])
    return None


def decision_error(job: Job, reply: Sequence[bytes]) -> AvtomatikaError | None:
    """Return the error that the script of :func:`decide_call` replied, if it did not record the decision."""
    status, detail = reply[0], reply[1].decode()
    match status:
        case b"GONE":
            return NotFoundError("job", job.id)
        case b"DECIDED":
            return ConflictError(f"already decided: {detail}")
        case b"OVER":
            return ConflictError(f"the job no longer waits for this decision: it is {detail}")
    return None
