"""Why a task is to end before it is done."""

from __future__ import annotations

from enum import StrEnum


class StopReason(StrEnum):
    """The values are words for people."""

    UNWANTED = "nobody waits for the task any more"
    LATE = "the time limit of the task is over"
