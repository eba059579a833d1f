"""Single tasks as objects: the handle of a task that was sent, with its status and its result."""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any, Generic, TypeVar

from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError, TaskFailedError

from .answers import StreamEntry
from .client import Client
from .http import seconds
from .operations import LONGEST_WAIT_SECONDS

R = TypeVar("R")

_FIELDS = ("status", "result", "error")


class TaskHandle(Generic[R]):
    """A task that was sent, by the ``id`` of its job. ``await handle`` waits for its result without blocking the event
    loop."""

    def __init__(self, client: Client, job_id: str, load: Callable[[Any], R]) -> None:
        """*load* converts the result from JSON."""
        self.id = job_id
        self._client = client
        self._load = load

    def __repr__(self) -> str:
        return f"TaskHandle({self.id!r})"

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.to_thread(self.wait).__await__()

    def status(self) -> JobStatus:
        """Return the status of its job."""
        return JobStatus(self._client.job(self.id, fields=("status",))["status"])

    @property
    def result(self) -> R:
        """The result of a task that has finished. Raises TaskFailedError if it failed, ConflictError if it has not
        ended."""
        found = self._client.job(self.id, fields=_FIELDS)
        if not _has_ended(found["status"]):
            raise ConflictError(f"the task is {found['status']}: wait() waits for its result")
        return self._result(found)

    def wait(self, timeout: float | timedelta | None = None) -> R:
        """Wait for the result, by default without a limit. Raises TaskFailedError if the task fails, and TimeoutError
        after *timeout* seconds."""
        deadline = None if timeout is None else monotonic() + seconds(timeout)
        while True:
            left = LONGEST_WAIT_SECONDS if deadline is None else max(0.0, deadline - monotonic())
            found = self._client.job(self.id, fields=_FIELDS, wait=min(left, LONGEST_WAIT_SECONDS))
            if _has_ended(found["status"]):
                return self._result(found)
            if left == 0:
                raise TimeoutError(f"task {self.id} is still {found['status']}")

    def stream(self, *, after: int = 0, follow: bool = True, kinds: Collection[str] = ()) -> Iterator[StreamEntry]:
        """Iterate over what the skill writes and logs, until the task ends; see :meth:`Client.stream`."""
        return self._client.stream(self.id, after=after, follow=follow, kinds=kinds)

    def cancel(self) -> None:
        """Cancel the task. Raises ConflictError if it has ended."""
        self._client.cancel(self.id)

    def _result(self, found: Any) -> R:
        if found["status"] != JobStatus.FINISHED:
            error = found["error"] or {}
            raise TaskFailedError(
                self.id,
                status=found["status"],
                error_code=str(error.get("code", found["status"].upper())),
                reason=str(error.get("message", f"the task was {found['status']}")),
            )
        return self._load(found["result"])


def _has_ended(status: str) -> bool:
    """Return True if nothing more happens without a person."""
    return JobStatus(status).is_final or status == JobStatus.QUARANTINED
