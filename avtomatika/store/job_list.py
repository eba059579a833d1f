"""Lists of jobs, newest first: a script intersects the indexes of all filters on the server."""

import re
from collections.abc import Sequence

from avtomatika.errors import InvalidRequestError
from avtomatika.transport import RedisClient
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JobFilter
from .scripts import LIST_JOBS, run

#: Jobs that one call examines: a call takes the server 1 to 2 ms.
_PER_CALL = 2000
#: Maximum number of calls for one page. A page that needs more is short, and its cursor continues.
_CALLS = 10
#: A job's creation in milliseconds, and its id.
_CURSOR = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{1,256})")


def list_ids(server: RedisClient, keys: Keys, wanted: JobFilter) -> tuple[list[str], str | None]:
    """Return the ids of up to ``wanted.limit`` jobs and the cursor of the next page, None at the end.

    A cursor is a position in the order of all jobs, which never changes. A page may have fewer jobs than the limit,
    or none, if few of many jobs match.
    Raises InvalidRequestError for an unknown cursor, UnavailableError if the server is down.
    """
    indexes = _indexes(keys, wanted)
    created, last_id = ("", "") if wanted.cursor is None else _position(wanted.cursor)
    found: list[str] = []
    for _ in range(_CALLS):
        call = Call(LIST_JOBS, indexes, [created, last_id, wanted.limit - len(found), _PER_CALL])
        created, last_id, *ids = [text.decode() for text in run(server, call)]
        found += ids
        if not last_id or len(found) == wanted.limit:
            break
    return found, f"{created}.{last_id}" if last_id else None


def _indexes(keys: Keys, wanted: JobFilter) -> Sequence[str]:
    indexes = [keys.by_label(name, value) for name, value in dict.fromkeys(wanted.labels)]
    if wanted.client is not None:
        indexes.append(keys.by_client(wanted.client))
    if wanted.status is not None:
        indexes.append(keys.by_status(wanted.status))
    if wanted.blueprint is not None:
        indexes.append(keys.by_blueprint(wanted.blueprint))
    if wanted.skill is not None:
        indexes.append(keys.by_skill(wanted.skill))
    return indexes or [keys.by_all()]


def _position(cursor: str) -> tuple[str, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidRequestError(
            f"{cursor!r} is not a cursor", fields={"cursor": ["must be the cursor of a previous response"]}
        )
    return match[1], match[2]
