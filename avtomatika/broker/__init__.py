"""The only door to the broker: connecting, declaring, taking and answering deliveries."""

from avtomatika.transport import Outgoing

from .answers import (
    answer,
    cancel_message,
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
from .live import LiveQueues, StepQueue
from .topology import TAKEN, declare, declare_control, declare_tasks, forget_control, own_queue

__all__ = [
    "TAKEN",
    "Delivery",
    "Intake",
    "LiveQueues",
    "Outgoing",
    "StepQueue",
    "address",
    "answer",
    "cancel_message",
    "connect",
    "declare",
    "declare_control",
    "declare_tasks",
    "forget_control",
    "handed_on",
    "heartbeat",
    "notice",
    "own_queue",
    "progress_notice",
    "registration",
    "reply_key",
    "told_of_death",
]
