"""Fitness: skills that this worker cannot do for now, because of a fault of its own, and when it can again.

A fault suspends the skill of the task that met it. It is probed with increasing pauses; a probe that succeeds resumes
the skills. If the same fault returns soon after that, the pauses go on from where they were.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from avtomatika.core.job import Json

logger = logging.getLogger(__name__)

#: Pauses between two probes: the first, and the longest.
_FIRST_SECONDS, _LONGEST_SECONDS = 2.0, 60.0
#: A fault that has not returned for so long is a new one.
_FORGOTTEN_SECONDS = 600.0
#: Longest reason that is told, in characters.
_MAX_REASON = 300


@dataclass(slots=True)
class _Fault:
    probe: Mapping[str, str]
    reason: str
    skills: set[str] = field(default_factory=set)
    pause_seconds: float = _FIRST_SECONDS
    due: float = 0.0
    ended: float | None = None


class Fitness:
    """Threads may share it. *check* tries what a probe names, and raises while that cannot be done."""

    def __init__(self, check: Callable[[Mapping[str, str]], None]) -> None:
        self._check = check
        self._faults: dict[str, _Fault] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._has_ended = False
        #: Skills that are suspended; replaced as a whole.
        self.suspended: frozenset[str] = frozenset()

    def note(self, skill: str, error: Mapping[str, Any]) -> None:
        """Suspend *skill* if *error*, which a task of it ended with, is a fault of the worker as a whole."""
        probe = (error.get("worker_fault") or {}).get("probe")
        if not probe:
            return
        kind, now = probe.get("check", ""), monotonic()
        with self._changed:
            fault = self._faults.get(kind)
            if fault is None or (fault.ended is not None and now - fault.ended > _FORGOTTEN_SECONDS):
                fault = self._faults[kind] = _Fault(probe, "")
            fault.probe, fault.reason = probe, str(error.get("message", ""))[:_MAX_REASON]
            if not fault.skills:
                fault.due = now + fault.pause_seconds
            if skill not in fault.skills:
                logger.error("takes no tasks of skill %r until this is mended: %s", skill, fault.reason)
            fault.skills.add(skill)
            self._update()
            if self._thread is None and not self._has_ended:
                self._thread = threading.Thread(target=self._serve, name="fitness", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def report(self) -> dict[str, Json] | None:
        """The reason and the suspended skills, for heartbeats; None while the worker is fit."""
        with self._changed:
            reasons = [fault.reason for fault in self._faults.values() if fault.skills]
            return {"reason": reasons[0], "skills": sorted(self.suspended)} if reasons else None

    def close(self) -> None:
        """Stop probing."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (fault := self._next()) is not None:
            try:
                self._check(fault.probe)
            except Exception as error:  # whatever it is: the worker is still unfit
                self._postpone(fault, str(error))
            else:
                self._resume(fault)

    def _next(self) -> _Fault | None:
        """The fault that is due to be probed; None at the end."""
        with self._changed:
            while not self._has_ended:
                active = [fault for fault in self._faults.values() if fault.skills]
                due = min(active, key=lambda fault: fault.due, default=None)
                if due is not None and due.due <= monotonic():
                    return due
                self._changed.wait(None if due is None else due.due - monotonic())
            return None

    def _postpone(self, fault: _Fault, reason: str) -> None:
        with self._changed:
            logger.info("still unfit: %s", reason)
            fault.pause_seconds = min(fault.pause_seconds * 2, _LONGEST_SECONDS)
            fault.due = monotonic() + fault.pause_seconds

    def _resume(self, fault: _Fault) -> None:
        with self._changed:
            logger.warning("takes tasks of %s again", ", ".join(sorted(fault.skills)))
            fault.skills.clear()
            fault.ended = monotonic()
            fault.pause_seconds = min(fault.pause_seconds * 2, _LONGEST_SECONDS)
            self._update()

    def _update(self) -> None:
        self.suspended = frozenset(skill for fault in self._faults.values() for skill in fault.skills)
