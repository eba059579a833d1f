"""The only door to the broker: connecting, declaring, taking and answering deliveries."""

from avtomatika.transport import Outgoing

from .answers import (
    answer,
    begun_notice,
    control_message,
    handed_on,
    heartbeat,
    notice,
    progress_notice,
    registration,
    reply_key,
    told_of_death,
)
from .connection import address, connect, identity
from .difference import Difference, QueueChange, difference, remove_queues
from .intake import Delivery, Intake
from .live import LiveQueues, StepQueue
from .topology import TAKEN, declare, declare_control, declare_tasks, forget_control, own_queue

__all__ = [
    "TAKEN",
    "Delivery",
    "Difference",
    "Intake",
    "LiveQueues",
    "Outgoing",
    "QueueChange",
    "StepQueue",
    "address",
    "answer",
    "begun_notice",
    "connect",
    "control_message",
    "declare",
    "declare_control",
    "declare_tasks",
    "difference",
    "forget_control",
    "handed_on",
    "heartbeat",
    "identity",
    "notice",
    "own_queue",
    "progress_notice",
    "registration",
    "remove_queues",
    "reply_key",
    "told_of_death",
]
