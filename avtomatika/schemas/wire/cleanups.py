"""Clean-up messages: a job has ended, and its files can be removed."""

from dataclasses import asdict

from avtomatika.core.frozen import dataclass
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas.fields import identifier, one_of, or_null

from .body import dump, load_own, read

#: Files to remove: those that the job's result does not name, all, or all of a job that did not finish.
INTERMEDIATE, EVERYTHING, UNFINISHED = "intermediate", "everything", "unfinished"

_FIELDS = (
    identifier("job_id"),
    one_of("what", INTERMEDIATE, EVERYTHING, UNFINISHED),
    or_null(identifier("parent_id")),
    or_null(identifier("origin")),
)


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Files of a job to remove (*what*); *parent_id* is its parent job, *origin* the first job that it continues."""

    job_id: str
    what: str
    parent_id: str | None = None
    origin: str | None = None


def dump_cleanup(cleanup: Cleanup, secret: GroupSecret) -> str:
    """Encode a clean-up, signed by the group."""
    return dump("cleanup", asdict(cleanup), signer=secret)


def load_cleanup(raw: str | bytes, secret: GroupSecret) -> Cleanup:
    """Decode a clean-up. Raises MessageAuthenticationError unless the group has signed it."""
    return Cleanup(**read("cleanup", load_own("cleanup", raw, secret), _FIELDS))
