"""Loads and runs the Lua scripts of the store, and translates the errors of redis."""

from contextlib import ContextDecorator
from functools import partial
from pathlib import Path

import orjson
from redis.exceptions import RedisError

from avtomatika import transport
from avtomatika.core.job import Json
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.transport import Router
from avtomatika.transport.scripts import Call, load_script

from .keys import Keys

_load = partial(load_script, folder=Path(__file__).parent / "lua")

CREATE_JOBS = _load("create_jobs", "statistics", "unique", allow_oom=False)
TAKE_QUOTA = _load("take_quota", allow_oom=False)
COMMIT = _load("commit", "statistics", "unique")
#: For commits that send more messages than they acknowledge.
COMMIT_MORE = _load("commit", "statistics", "unique", allow_oom=False)
FINISH_BRANCH = _load("finish_branch")
TASK_TAKEN = _load("task_taken")
TASK_PROGRESS = _load("task_progress", allow_oom=False)
APPEND_STREAM = _load("append_stream", allow_oom=False)
IGNORE_EVENT = _load("ignore_event")
SEND_DUE_TIMERS = _load("send_due_timers")
SEND_SIGNAL = _load("send_signal")
KEEP_SIGNAL = _load("keep_signal", allow_oom=False)
DECIDE_APPROVAL = _load("decide_approval")
EXPIRE_JOB = _load("expire_job")
LEASE_TASK = _load("lease_task")
RENEW_LEASE = _load("renew_lease")
SETTLE_LEASE = _load("settle_lease", "slots", "lease")
REFRESH_SESSION = _load("refresh_session")
ADD_NOTE = _load("add_note")
APPEND_HISTORY = _load("append_history")
WEBHOOK_TURN = _load("webhook_turn")
SETTLE_WEBHOOK = _load("settle_webhook")
DATA_INCR = _load("data_incr", allow_oom=False)
REGISTER_WORKER = _load("register_worker")
HEARTBEAT = _load("heartbeat")
READ_WORKERS = _load("read_workers")
CHOOSE_WORKER = _load("choose_worker")
DRAIN = _load("drain_worker")
REFUSE = _load("refuse_worker")
RECORD_OUTCOMES = _load("record_outcomes")
ANNOUNCE_PLANS = _load("announce_plans")
UNFINISHED_JOBS = _load("unfinished_jobs", writes=False)
QUARANTINE_JOB = _load("quarantine_job")
LIST_JOBS = _load("list_jobs", writes=False)
OVERVIEW = _load("overview", writes=False)
SAMPLE = _load("sample", "statistics")
READ_HISTORY = _load("read_history", writes=False)
WRITE_SCHEDULE = _load("write_schedule")


class server_errors(ContextDecorator):
    """Translates errors of redis to UnavailableError, and the transport's NoRouteError to ours. Every call uses it: a
    class takes a third of the time of a generator."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, transport.NoRouteError):
            raise NoRouteError(error.exchange, error.routing_key) from error
        if isinstance(error, RedisError):
            raise unavailable(error) from error


def unavailable(error: RedisError) -> UnavailableError:
    """Return *error* as UnavailableError; its message contains no address or password."""
    if str(error).startswith("OOM"):
        return UnavailableError(
            "the server's memory is full: no new jobs are accepted until others finish", retry_after_seconds=10
        )
    return UnavailableError(f"the server does not answer: {error}")


def note_call(keys: Keys, job_id: str, note: Json) -> Call:
    """Return the call that adds *note* to the notes of a job."""
    keys = keys.of(job_id)
    return Call(ADD_NOTE, [keys.job(job_id), keys.notes(job_id)], [orjson.dumps(note)])


def ignore_call(keys: Keys, router: Router, tag: str, job_id: str, note: Json) -> Call:
    """Return the call that acknowledges an event that changes nothing, and stores *note* unless it is None."""
    stream, entry = router.parse_tag(tag)
    keys = keys.of(job_id)
    text = b"" if note is None else orjson.dumps(note)
    return Call(IGNORE_EVENT, [keys.job(job_id), keys.notes(job_id), stream], [router.consumer_name, entry, text])
