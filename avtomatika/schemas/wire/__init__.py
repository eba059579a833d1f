"""Wire messages: conversion between JSON and frozen values, one module per message type.

Validation is written by hand because every task passes here several times. A ``load_`` function raises only
InvalidMessageError. Unknown fields are ignored, so that newer senders may add some.
"""

from .body import MAX_BYTES, UNSIGNED, VERSION, InvalidMessageError, MessageAuthenticationError
from .cleanups import EVERYTHING, INTERMEDIATE, Cleanup, dump_cleanup, load_cleanup
from .control import Cancel, Control, Rejected, dump_control, load_control
from .events import Check, dead_letter_event_headers, dump_event, dump_result, load_event
from .notices import Heartbeat, Notice, Progress, Registered, TasksStarted, TaskStarted, dump_notice, load_notice
from .streams import CHUNK_FIELDS, MAX_CHUNK_BYTES, Chunk, RunChunks, StreamChunks
from .tasks import TaskMessage, dump_task, load_task
from .timers import DueTimer, dump_due_timer, load_due_timer
from .webhooks import WebhookMessage, dump_webhook, load_webhook

__all__ = [
    "CHUNK_FIELDS",
    "EVERYTHING",
    "INTERMEDIATE",
    "MAX_BYTES",
    "MAX_CHUNK_BYTES",
    "UNSIGNED",
    "VERSION",
    "Cancel",
    "Check",
    "Chunk",
    "Cleanup",
    "Control",
    "DueTimer",
    "Heartbeat",
    "InvalidMessageError",
    "MessageAuthenticationError",
    "Notice",
    "Progress",
    "Registered",
    "Rejected",
    "RunChunks",
    "StreamChunks",
    "TaskMessage",
    "TaskStarted",
    "TasksStarted",
    "WebhookMessage",
    "dead_letter_event_headers",
    "dump_cleanup",
    "dump_control",
    "dump_due_timer",
    "dump_event",
    "dump_notice",
    "dump_result",
    "dump_task",
    "dump_webhook",
    "load_cleanup",
    "load_control",
    "load_due_timer",
    "load_event",
    "load_notice",
    "load_task",
    "load_webhook",
]
