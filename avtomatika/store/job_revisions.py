"""Revisions of jobs, to detect changes of many jobs in one round trip."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from .scripts import server_errors
from .server_part import ServerPart

#: A job id, the ids of the open tasks whose progress is wanted, and whether its stream is.
Wanted: TypeAlias = tuple[str, tuple[str, ...]] | tuple[str, tuple[str, ...], bool]


class JobRevision(NamedTuple):
    """*version* is None if the job is missing or unreadable; *entries* is the length of its history, *streamed* the
    last ``seq`` of its stream."""

    version: int | None
    entries: int
    progress: tuple[bytes | None, ...]
    streamed: int = 0


class JobRevisions(ServerPart):
    """Thread-safe."""

    def read(self, wanted: Collection[Wanted]) -> dict[Wanted, JobRevision]:
        """Return the revision of each job. Raises UnavailableError if the server is down."""
        commands = {each: self._commands(*each) for each in wanted}
        with server_errors():
            answers = iter(self._server.pipeline([command for some in commands.values() for command in some]))
        return {each: _revision(each, list(islice(answers, len(asked)))) for each, asked in commands.items()}

    def _commands(self, job_id: str, task_ids: tuple[str, ...], streamed: bool = False) -> list[Sequence[str]]:
        keys = self._keys.of(job_id)
        commands: list[Sequence[str]] = [("HGET", keys.job(job_id), "v"), ("LLEN", keys.history(job_id))]
        if streamed:
            commands.append(("HGET", keys.stream_state(job_id), "last"))
        if task_ids:
            commands.append(("HMGET", keys.tasks(job_id), *(f"{task_id}/progress" for task_id in task_ids)))
        return commands


def _revision(wanted: Wanted, replies: list[Any]) -> JobRevision:
    """Parse the server's replies; an error as a reply means that the key has a foreign type."""
    version, entries, *rest = replies
    is_readable = isinstance(version, bytes) and version.isdigit() and isinstance(entries, int)
    if not is_readable or any(isinstance(reply, Exception) for reply in rest):
        return JobRevision(None, 0, ())
    streamed = int(rest.pop(0) or 0) if wanted[2:] == (True,) else 0
    return JobRevision(int(version), entries, tuple(*rest), streamed)
