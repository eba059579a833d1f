"""Suspension of skills that this worker cannot run now because of a fault such as a full disk.

A fault suspends the skill of the failed task. It is probed with increasing delays; a successful probe resumes the
skills. If the fault returns soon afterwards, the delays continue from the last one.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from avtomatika.core.job import Json

logger = logging.getLogger(__name__)

#: First and longest delay between two probes.
_FIRST_SECONDS, _LONGEST_SECONDS = 2.0, 60.0
#: Time after which a fault that recurs counts as new.
_FORGET_SECONDS = 600.0
#: Maximum length of a reported reason, in characters.
_MAX_REASON = 300


@dataclass(slots=True)
class _Fault:
    probe: Mapping[str, str]
    reason: str
    skills: set[str] = field(default_factory=set)
    pause_seconds: float = field(default_factory=lambda: _FIRST_SECONDS)
    due: float = 0.0
    resolved_at: float | None = None


class SkillSuspension:
    """Skills that are suspended, and why. Thread-safe. *check* runs a probe and raises while the fault persists."""

    def __init__(self, check: Callable[[Mapping[str, str]], None]) -> None:
        self._check = check
        self._faults: dict[str, _Fault] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        #: Suspended skills; replaced as a whole, never changed.
        self.suspended: frozenset[str] = frozenset()

    def record_fault(self, skill: str, error: Mapping[str, Any]) -> None:
        """Suspend *skill* if *error*, from one of its tasks, is a fault of the worker."""
        probe = (error.get("worker_fault") or {}).get("probe")
        if not probe:
            return
        kind, now = probe.get("check", ""), monotonic()
        with self._changed:
            fault = self._faults.get(kind)
            if fault is None or (fault.resolved_at is not None and now - fault.resolved_at > _FORGET_SECONDS):
                fault = self._faults[kind] = _Fault(probe, "")
            fault.probe, fault.reason = probe, str(error.get("message", ""))[:_MAX_REASON]
            if not fault.skills:
                fault.due = now + fault.pause_seconds
            if skill not in fault.skills:
                logger.error("suspending skill %r until this fault is resolved: %s", skill, fault.reason)
            fault.skills.add(skill)
            self._update()
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._serve, name="fitness", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def report(self) -> dict[str, Json] | None:
        """Return the reason and the suspended skills for heartbeats; None while nothing is suspended."""
        with self._changed:
            reasons = [fault.reason for fault in self._faults.values() if fault.skills]
            return {"reason": reasons[0], "skills": sorted(self.suspended)} if reasons else None

    def close(self) -> None:
        """Stop probing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (fault := self._next()) is not None:
            try:
                self._check(fault.probe)
            except Exception as error:  # any error means that the fault persists
                self._postpone(fault, str(error))
            else:
                self._resume(fault)

    def _next(self) -> _Fault | None:
        """Wait for the next fault to probe; return None after :meth:`close`."""
        with self._changed:
            while not self._is_closed:
                active = [fault for fault in self._faults.values() if fault.skills]
                due = min(active, key=lambda fault: fault.due, default=None)
                if due is not None and due.due <= monotonic():
                    return due
                self._changed.wait(None if due is None else due.due - monotonic())
            return None

    def _postpone(self, fault: _Fault, reason: str) -> None:
        with self._changed:
            logger.info("skills stay suspended: %s", reason)
            fault.pause_seconds = min(fault.pause_seconds * 2, _LONGEST_SECONDS)
            fault.due = monotonic() + fault.pause_seconds

    def _resume(self, fault: _Fault) -> None:
        with self._changed:
            logger.warning("resuming skills: %s", ", ".join(sorted(fault.skills)))
            fault.skills.clear()
            fault.resolved_at = monotonic()
            fault.pause_seconds = min(fault.pause_seconds * 2, _LONGEST_SECONDS)
            self._update()

    def _update(self) -> None:
        self.suspended = frozenset(skill for fault in self._faults.values() for skill in fault.skills)
