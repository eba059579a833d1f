"""Messages on the wire: JSON texts to frozen values and back, a noun a file.

Checked by hand, for every task passes here several times. Whatever comes in, the only error that leaves a ``load_`` is
InvalidMessageError; fields that we do not know are left alone, so that a newer sender may add some.
"""

from __future__ import annotations

from .body import MAX_BYTES, UNSIGNED, VERSION, Forged, InvalidMessageError
from .cleanups import EVERYTHING, INTERMEDIATE, Cleanup, dump_cleanup, load_cleanup
from .control import Barred, Cancel, Control, dump_control, load_control
from .events import Check, dump_event, dump_result, load_event, told_when_dead
from .notices import Beat, Begun, Notice, Progress, Registered, Taken, dump_notice, load_notice
from .tasks import TaskMessage, dump_task, load_task
from .timers import Due, dump_due, load_due
from .webhooks import WebhookMessage, dump_webhook, load_webhook

__all__ = [
    "EVERYTHING",
    "INTERMEDIATE",
    "MAX_BYTES",
    "UNSIGNED",
    "VERSION",
    "Barred",
    "Beat",
    "Begun",
    "Cancel",
    "Check",
    "Cleanup",
    "Control",
    "Due",
    "Forged",
    "InvalidMessageError",
    "Notice",
    "Progress",
    "Registered",
    "Taken",
    "TaskMessage",
    "WebhookMessage",
    "dump_cleanup",
    "dump_control",
    "dump_due",
    "dump_event",
    "dump_notice",
    "dump_result",
    "dump_task",
    "dump_webhook",
    "load_cleanup",
    "load_control",
    "load_due",
    "load_event",
    "load_notice",
    "load_task",
    "load_webhook",
    "told_when_dead",
]
