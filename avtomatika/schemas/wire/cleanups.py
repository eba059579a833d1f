"""Clean-ups on the wire: a job has ended, and its files are to be looked after."""

from __future__ import annotations

from dataclasses import dataclass

from avtomatika.core.signing import GroupSecret
from avtomatika.schemas.fields import identifier, one_of, or_null

from .body import dump, load_own, read

#: What may go: what the job's result does not name, or all of its files.
INTERMEDIATE, EVERYTHING = "intermediate", "everything"

_FIELDS = (identifier("job_id"), one_of("what", INTERMEDIATE, EVERYTHING), or_null(identifier("parent_id")))


@dataclass(frozen=True, slots=True)
class Cleanup:
    """*what* of a job's files may go; *parent_id* is the job that waited for it."""

    job_id: str
    what: str
    parent_id: str | None = None


def dump_cleanup(cleanup: Cleanup, secret: GroupSecret) -> str:
    """The body of a clean-up, signed: nobody else has files removed."""
    values = {"job_id": cleanup.job_id, "what": cleanup.what, "parent_id": cleanup.parent_id}
    return dump("cleanup", values, signer=secret)


def load_cleanup(raw: str | bytes, secret: GroupSecret) -> Cleanup:
    """The clean-up that *raw* holds; raises Forged where it is not by the group."""
    return Cleanup(**read("cleanup", load_own("cleanup", raw, secret), _FIELDS))
