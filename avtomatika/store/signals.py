"""Wishes of people: cancel a job, have one go on from quarantine. They travel as messages, as all that moves a job."""

from __future__ import annotations

from secrets import token_hex
from typing import Literal

from avtomatika.core.events import Signal
from avtomatika.core.job import Job
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent
from avtomatika.transport import Router
from avtomatika.transport.scripts import Call

from .keys import Keys
from .messages import signal_key, step_message
from .scripts import SIGNAL

Wish = Literal["cancel", "retry"]

#: Why a wish cannot be granted any more.
REFUSALS = {"cancel": "the job is over already: {}", "retry": "the job does not rest in quarantine: it is {}"}


def new_signal(job: Job, wish: Wish, by: str) -> Signal:
    """A wish that is told from every other one."""
    return Signal(job.id, wish, by, token_hex(8))


def signal_call(job: Job, signal: Signal, *, keys: Keys, router: Router, secret: GroupSecret) -> Call:
    """The call that sends *signal*. Raises NoRoute of the transport where the job's plan is bound nowhere."""
    message = step_message(job, SendEvent(signal_key(job), signal), secret)
    route = router.route(message.exchange, message.routing_key)
    call_keys = [keys.job(job.id), route.bindings_key, router.stream(route.queues[0], message.priority)]
    return Call(SIGNAL, call_keys, [int(signal.wish == "retry"), route.version, router.encode(message)])
