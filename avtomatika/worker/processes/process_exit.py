"""Exit of a child process, and the error of its tasks."""

import contextlib
import os
import signal
from dataclasses import dataclass

from avtomatika.errors import PermanentError, TaskError, TransientError
from avtomatika.worker.execution import TaskExecution


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """Exit of the child *pid*; *status* is from ``waitpid``."""

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


def task_error_of(execution: TaskExecution, exit_: ProcessExit) -> TaskError:
    """Return the error for a task whose process exited. It is permanent for an isolated task, which has crashed
    before."""
    if execution.stop_reason is not None:
        return TransientError("it did not stop, so its process was killed")
    if execution.is_isolated:
        return PermanentError(f"the process of the skill {exit_}, and earlier deliveries failed as well")
    return TransientError(f"the process of the skill {exit_}")
