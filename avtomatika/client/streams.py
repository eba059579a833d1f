"""Operations on the stream of a job: what its skills write and log."""

from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from avtomatika.errors import TooManyRequestsError, UnavailableError

from . import answers
from .http import seconds
from .operations import LONGEST_WAIT_SECONDS, job_path
from .steps import Request, Sleep, Steps, json_answer

#: Entries of one page.
_PAGE = 1_000
_KINDS = ("text", "json", "bytes", "log", "restart", "dropped")


def stream_page(job_id: str, *, after: int = 0, wait: float | timedelta = 0) -> Steps[answers.StreamPage]:
    """Return up to 1,000 entries with ``seq > after``, with ``bytes`` in base64 and an ``end`` after the last one.

    With *wait* (at most 25 s) the server answers once there are entries or the job changes.
    """
    held = seconds(wait)
    params = {"after": after, "limit": _PAGE, "wait": held or None}
    return json_answer(answers.StreamPage, Request("GET", f"{job_path(job_id)}/stream", params, held_seconds=held))


@dataclass(frozen=True, slots=True)
class Stream:
    """The pages of :func:`stream`."""

    job_id: str
    after: int
    follow: bool
    kinds: Collection[str]

    def page(self, cursor: int | None) -> Steps[tuple[list[answers.StreamEntry], int | None]]:
        """Request one page; return its entries and the cursor of the next page, None after the last."""
        try:
            page = yield from stream_page(
                self.job_id,
                after=self.after if cursor is None else cursor,
                wait=LONGEST_WAIT_SECONDS if self.follow else 0,
            )
        except (UnavailableError, TooManyRequestsError) as error:
            if cursor is None:
                raise
            yield Sleep(error.retry_after_seconds)
            return [], cursor
        entries = [_decoded(entry) for entry in page["entries"] if entry["kind"] in self.kinds]
        is_last = page["has_ended"] or not (self.follow or page["entries"])
        return entries, None if is_last else page["next"]


def stream(job_id: str, *, after: int = 0, follow: bool = True, kinds: Collection[str] = ()) -> Stream:
    """Iterate over what the skills of a job write and log, until the job ends; with *follow* False, what there is now.

    *after* is the ``seq`` of the last known entry. *kinds* selects entries: ``text``, ``json``, ``bytes``, ``log``,
    ``restart`` (a new run of the task starts, and what it wrote before is void) and ``dropped`` (``data`` entries are
    missing). Once a first page was read, requests are repeated while the servers are unavailable.
    """
    return Stream(job_id, after, follow, kinds or _KINDS)


def _decoded(entry: answers.StreamEntry) -> answers.StreamEntry:
    """Decode the data of ``bytes``. Workers may send text that is not base64, which is returned as it is."""
    if entry["kind"] == "bytes":
        try:
            return {**entry, "data": b64decode(entry["data"], validate=True)}
        except ValueError:
            pass
    return entry
