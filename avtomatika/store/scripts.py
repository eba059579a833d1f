"""The Lua scripts of the store, and what the server's silence or refusal means to those who do not know redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from redis.exceptions import RedisError

from avtomatika import transport
from avtomatika.core.job import Json
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.scripts import Call, load_script

from .keys import Keys

_load = partial(load_script, folder=Path(__file__).parent / "lua")

CREATE_JOBS = _load("create_jobs", allow_oom=False)
COMMIT = _load("commit")
#: For commits that send more than one message for the one that they close.
COMMIT_MORE = _load("commit", allow_oom=False)
FINISH_BRANCH = _load("finish_branch")
TASK_TAKEN = _load("task_taken")
TASK_PROGRESS = _load("task_progress", allow_oom=False)
IGNORE_EVENT = _load("ignore_event")
SEND_DUE_TIMERS = _load("send_due_timers")
SEND_SIGNAL = _load("send_signal")
DECIDE_APPROVAL = _load("decide_approval")
EXPIRE_JOB = _load("expire_job")
LEASE_TASK = _load("lease_task")
RENEW_LEASE = _load("renew_lease")
SETTLE_LEASE = _load("settle_lease")
REFRESH_SESSION = _load("refresh_session")
ADD_NOTE = _load("add_note")
APPEND_HISTORY = _load("append_history")
WEBHOOK_TURN = _load("webhook_turn")
SETTLE_WEBHOOK = _load("settle_webhook")
DATA_INCR = _load("data_incr", allow_oom=False)
REGISTER_WORKER = _load("register_worker")
HEARTBEAT = _load("heartbeat")
CHOOSE_WORKER = _load("choose_worker")
RECORD_OUTCOMES = _load("record_outcomes")
ANNOUNCE_PLANS = _load("announce_plans")
UNFINISHED_JOBS = _load("unfinished_jobs")
RUNNING_JOBS = _load("running_jobs")
QUARANTINE_JOB = _load("quarantine_job")
LIST_JOBS = _load("list_jobs")


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
    return Call(ADD_NOTE, [keys.job(job_id), keys.notes(job_id)], [orjson.dumps(note)])


def ignore_call(keys: Keys, router: Router, tag: str, job_id: str, note: Json) -> Call:
    """The call that acknowledges an event that changes nothing, and keeps *note*, unless it is None."""
    stream, entry = router.parse_tag(tag)
    text = b"" if note is None else orjson.dumps(note)
    return Call(IGNORE_EVENT, [keys.job(job_id), keys.notes(job_id), stream], [router.consumer_name, entry, text])


def run(server: RedisClient, call: Call) -> Any:
    """Run one script. Raises UnavailableError when the server is away or refuses it: nobody may know whether it ran."""
    with server_errors():
        return server.run(call)


def run_routed(server: RedisClient, router: Router, make: Callable[[], Call]) -> Any:
    """Run the script that *make* routes, and routes anew where the bindings changed under it.

    Raises NoRouteError where it leads nowhere, and UnavailableError as :func:`run`.
    """
    with server_errors():
        for _ in router.attempts():
            answer = server.run(make())
            if answer[0] != b"REROUTE":
                break
    return answer


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
