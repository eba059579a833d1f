"""The Lua scripts of the store, and what the server's silence or refusal means to those who do not know redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any

import orjson
from redis.exceptions import RedisError

from avtomatika import transport
from avtomatika.core.job import Json
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.scripts import EXPECT, Call, Script

from .keys import Keys

#: How often bindings may change under a script before we call it trouble.
_REROUTES = 10
_FOLDER = Path(__file__).parent / "lua"
#: A full server still runs scripts that finish or shrink something ...
_FINISHES = "#!lua flags=allow-oom\n"
#: ... and refuses, before they write anything, those that begin something.
_BEGINS = "#!lua\n"


def _read(name: str, header: str) -> Script:
    text = "\n".join((header + EXPECT, (_FOLDER / f"{name}.lua").read_text()))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


CREATE = _read("create", _BEGINS)
COMMIT = _read("commit", _FINISHES)
#: For commits that send more than one message for the one that they close.
COMMIT_MORE = _read("commit", _BEGINS)
BRANCH = _read("branch", _FINISHES)
TAKEN = _read("taken", _FINISHES)
PROGRESS = _read("progress", _BEGINS)
IGNORE = _read("ignore", _FINISHES)
DUE_TIMERS = _read("due_timers", _FINISHES)
SIGNAL = _read("signal", _FINISHES)
DECIDE = _read("decide", _FINISHES)
EXPIRE = _read("expire", _FINISHES)
HAND_OVER = _read("hand_over", _FINISHES)
RENEW_HELD = _read("renew_held", _FINISHES)
SETTLE_HELD = _read("settle_held", _FINISHES)
REFRESH_SESSION = _read("refresh_session", _FINISHES)
NOTE = _read("note", _FINISHES)
APPEND = _read("append", _FINISHES)
WEBHOOK_TURN = _read("webhook_turn", _FINISHES)
WEBHOOK_SETTLED = _read("webhook_settled", _FINISHES)
DATA_INCR = _read("data_incr", _BEGINS)
REGISTER_WORKER = _read("register_worker", _FINISHES)
BEAT_WORKER = _read("beat_worker", _FINISHES)
CHOSEN = _read("chosen", _FINISHES)
JUDGE = _read("judge", _FINISHES)
ANNOUNCE = _read("announce", _FINISHES)
UNFINISHED = _read("unfinished", _FINISHES)
OF_BLUEPRINT = _read("of_blueprint", _FINISHES)
QUARANTINE = _read("quarantine", _FINISHES)
LIST = _read("list", _FINISHES)


@contextmanager
def server_errors() -> Iterator[None]:
    """Raises UnavailableError for every error of redis, and NoRouteError of ours for the transport's."""
    try:
        yield
    except transport.NoRouteError as error:
        raise NoRouteError(error.exchange, error.routing_key) from error
    except RedisError as error:
        raise unavailable(error) from error


def unavailable(error: RedisError) -> UnavailableError:
    """What *error* means; addresses and passwords are in none of them."""
    if str(error).startswith("OOM"):
        return UnavailableError(
            "the server's memory is full: nothing new is taken until jobs end", retry_after_seconds=10
        )
    return UnavailableError(f"the server does not answer: {error}")


def note_call(keys: Keys, job_id: str, note: Json) -> Call:
    """The call that keeps *note* beside the history of a job."""
    return Call(NOTE, [keys.job(job_id), keys.notes(job_id)], [orjson.dumps(note)])


def ignore_call(keys: Keys, router: Router, tag: str, job_id: str, note: Json) -> Call:
    """The call that acknowledges an event that changes nothing, and keeps *note*, unless it is None."""
    stream, entry = router.parse_tag(tag)
    text = b"" if note is None else orjson.dumps(note)
    return Call(IGNORE, [keys.job(job_id), keys.notes(job_id), stream], [router.consumer_name, entry, text])


def run(server: RedisClient, call: Call) -> Any:
    """Run one script. Raises UnavailableError when the server is away or refuses it: nobody may know whether it ran."""
    with server_errors():
        return server.run(call)


def run_routed(server: RedisClient, router: Router, make: Callable[[], Call]) -> Any:
    """Run the script that *make* routes, and routes anew where the bindings changed under it.

    Raises NoRouteError where it leads nowhere, and UnavailableError as :func:`run`.
    """
    for _ in range(_REROUTES):
        with server_errors():
            call = make()
        answer = run(server, call)
        if answer[0] != b"REROUTE":
            return answer
        router.forget_routes()
    raise UnavailableError("the bindings keep changing: nothing was written")


def run_all(server: RedisClient, calls: Sequence[Call]) -> list[Any]:
    """Run many in one round trip; an answer each, or the server's error where it refused that one."""
    with server_errors():
        return server.run_all(calls) if calls else []


def read_hashes(
    server: RedisClient, keys: Sequence[str], fields: Sequence[str]
) -> list[Sequence[bytes | None] | RedisError]:
    """*fields* of the hashes under *keys*, in one round trip; the error in place of one that is no hash."""
    with server_errors():
        rows = server.pipeline([("HMGET", key, *fields) for key in keys])
        for row in rows:
            if isinstance(row, RedisError) and not is_wrong_type(row):
                raise row
        return rows


def read_all(server: RedisClient, commands: Sequence[Sequence[str | int]]) -> list[Any]:
    """Raw answers to commands that change nothing, in one round trip."""
    with server_errors():
        return server.execute_all(commands) if commands else []
