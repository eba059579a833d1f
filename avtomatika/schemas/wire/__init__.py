"""Wire messages: conversion between JSON and frozen values, one module per message type.

Validation is written by hand because every task passes here several times. A ``load_`` function raises only
InvalidMessageError. Unknown fields are ignored, so that newer senders may add some.
"""

from .body import MAX_BYTES, UNSIGNED, VERSION, InvalidMessageError, MessageAuthenticationError
from .cleanups import EVERYTHING, INTERMEDIATE, UNFINISHED, Cleanup, dump_cleanup, load_cleanup
from .control import Cancel, Control, Drain, Rejected, dump_control, load_control
from .events import Check, dead_letter_event_headers, dump_event, dump_result, load_event
from .notices import Heartbeat, Notice, Progress, Registered, TasksStarted, TaskStarted, dump_notice, load_notice
from .requests import TaskRequest, dump_reply, dump_task_request, load_task_request, reply_to
from .streams import CHUNK_FIELDS, MAX_CHUNK_BYTES, Chunk, RunChunks, StreamChunks
from .tasks import TaskMessage, dump_task, load_task
from .timers import DueTimer, dump_due_timer, load_due_timer
from .webhooks import WebhookMessage, dump_webhook, load_webhook
