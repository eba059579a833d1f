"""How children end, and what that means for their tasks."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

from avtomatika.errors import PermanentError, TaskError, TransientError
from avtomatika.worker.execution import TaskExecution


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended; *status* as of ``waitpid``."""

    pid: int
    status: int

    def __str__(self) -> str:
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return f"ended with exit code {code}"
        if -code == signal.SIGKILL:
            return "was killed by SIGKILL (the system may have run out of memory)"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"


def problem_of(assignment: TaskExecution, death: Death) -> TaskError:
    """One that was alone has done it to others before."""
    if assignment.stop is not None:
        return TransientError("it went on, so its process was killed")
    if assignment.is_alone:
        return PermanentError(
            f"the process of the skill {death}, where it was alone; earlier deliveries ended badly, too"
        )
    return TransientError(f"the process of the skill {death}")
