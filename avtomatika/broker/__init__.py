"""The only door to the broker: connecting, declaring, taking and answering deliveries."""

from avtomatika.transport import Outgoing

from .connection import address, connect, identity
from .consumer import Consumer, Delivery
from .step_queues import StepQueue, StepQueues
from .topology import TAKEN, declare, declare_control, declare_tasks, forget_control, own_queue
from .topology_diff import QueueChange, TopologyDiff, difference, remove_queues
from .worker_messages import (
    answer,
    control_message,
    dead_letter_headers,
    forwarded_headers,
    heartbeat,
    notice,
    progress_notice,
    registration,
    reply_key,
    tasks_started,
)

__all__ = [
    "TAKEN",
    "Consumer",
    "Delivery",
    "Outgoing",
    "QueueChange",
    "StepQueue",
    "StepQueues",
    "TopologyDiff",
    "address",
    "answer",
    "connect",
    "control_message",
    "dead_letter_headers",
    "declare",
    "declare_control",
    "declare_tasks",
    "difference",
    "forget_control",
    "forwarded_headers",
    "heartbeat",
    "identity",
    "notice",
    "own_queue",
    "progress_notice",
    "registration",
    "remove_queues",
    "reply_key",
    "tasks_started",
]
