"""Revisions of jobs, to detect changes of many jobs in one round trip."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from avtomatika.transport import RedisClient

from .keys import Keys
from .scripts import server_errors

#: A job id, and the ids of the open tasks whose progress is wanted.
Wanted: TypeAlias = tuple[str, tuple[str, ...]]


class JobRevision(NamedTuple):
    """*version* is None if the job is missing or unreadable; *entries* is the length of its history."""

    version: int | None
    entries: int
    progress: tuple[bytes | None, ...]


class JobRevisions:
    """Thread-safe."""

    def __init__(self, server: RedisClient, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    def read(self, wanted: Collection[Wanted]) -> dict[Wanted, JobRevision]:
        """Return the revision of each job. Raises UnavailableError if the server is down."""
        commands = {each: self._commands(*each) for each in wanted}
        with server_errors():
            answers = iter(self._server.pipeline([command for some in commands.values() for command in some]))
        return {each: _revision(*islice(answers, len(asked))) for each, asked in commands.items()}

    def _commands(self, job_id: str, task_ids: tuple[str, ...]) -> list[Sequence[str]]:
        keys = self._keys
        commands: list[Sequence[str]] = [("HGET", keys.job(job_id), "v"), ("LLEN", keys.history(job_id))]
        if task_ids:
            commands.append(("HMGET", keys.tasks(job_id), *(f"{task_id}/progress" for task_id in task_ids)))
        return commands


def _revision(version: Any, entries: Any, progress: Any = ()) -> JobRevision:
    """Parse the server's replies; an error as a reply means that the key has a foreign type."""
    is_readable = isinstance(version, bytes) and version.isdigit() and isinstance(entries, int)
    if not is_readable or isinstance(progress, Exception):
        return JobRevision(None, 0, ())
    return JobRevision(int(version), entries, tuple(progress))
