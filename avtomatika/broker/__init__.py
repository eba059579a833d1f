"""The only door to the broker: connecting, declaring, taking and answering deliveries."""

from avtomatika.transport import Outgoing

from .answers import (
    answer,
    handed_on,
    heartbeat,
    notice,
    progress_notice,
    registration,
    reply_key,
    told_of_death,
)
from .connection import address, connect
from .intake import Delivery, Intake
from .topology import TAKEN, declare, declare_tasks, own_queue

__all__ = [
    "TAKEN",
    "Delivery",
    "Intake",
    "Outgoing",
    "address",
    "answer",
    "connect",
    "declare",
    "declare_tasks",
    "handed_on",
    "heartbeat",
    "notice",
    "own_queue",
    "progress_notice",
    "registration",
    "reply_key",
    "told_of_death",
]
