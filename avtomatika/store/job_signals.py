"""Signals to jobs: kept with the job until it takes them."""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from secrets import token_hex

import orjson

from avtomatika.core.events import SignalReceived
from avtomatika.core.job import HistoryEntry, Job, Json
from avtomatika.core.step import SendEvent
from avtomatika.errors import AvtomatikaError, ConflictError, NotFoundError
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keyring import Keyring
from .messages import signal_key, step_message
from .records import dump_signals
from .scripts import KEEP_SIGNAL
from .server_part import ServerPart, checked

#: Maximum number and bytes of the signals that a job has not taken, and of remembered idempotency keys.
_MOST_KEPT, _MOST_BYTES, _MOST_KEYS = 100, 1024 * 1024, 100


class JobSignals(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient, router: Router, *, keyring: Keyring) -> None:
        super().__init__(server)
        self._router = router
        self._keyring = keyring

    def send(self, job: Job, name: str, data: Json, *, by: str, idempotency_key: str | None = None) -> None:
        """Send the signal *name* of the client *by* with *data*, an object or None, to *job*, which may not wait for it
        yet. A repetition with the same *idempotency_key* (of the last 100) changes nothing.

        Raises ConflictError if the job has ended, has too many signals, or got other data with this key; NotFoundError
        if it does not exist any more.
        """
        checked(self._run_routed(self._router, [job], partial(self._call, name, data, by, idempotency_key), _read))

    def _call(self, name: str, data: Json, by: str, idempotency_key: str | None, job: Job) -> Call:
        token, keys = token_hex(8), self._keys.of(job.id)
        router = self._router.of(keys.prefix)
        message = step_message(SendEvent(signal_key(job), SignalReceived(job.id, token)), self._keyring.secret)
        route = router.route(message.exchange, message.routing_key)
        stream = router.stream(route.queues[0], message.priority)
        shown = {"id": token, "name": name, "by": by, "data": data}
        entry = HistoryEntry("signal_received", data=shown)
        key = "" if idempotency_key is None else _digest([name, idempotency_key])
        limits = (_MOST_KEPT, _MOST_BYTES, _MOST_KEYS)
        sent: list[Argument] = [dump_signals([shown]).rstrip(b"\n"), key, _digest(data), *limits]
        return Call(
            KEEP_SIGNAL,
            [keys.job(job.id), route.bindings_key, stream, keys.history(job.id)],
            [*sent, route.version, router.encode(message), dump_entry(entry)],
        )


def _digest(value: Json) -> str:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _read(job: Job, reply: Sequence[bytes]) -> AvtomatikaError | None:
    """Return the error that the script replied, if it did not keep the signal."""
    match reply[0]:
        case b"GONE" if not job.status.is_final:
            return NotFoundError("job", job.id)
        case b"GONE" | b"REFUSED":  # an archived job is gone
            return ConflictError(f"the job takes no more signals: it is {reply[1].decode() or job.status}")
        case b"OTHER_DATA":
            return ConflictError("the idempotency key was used for this job with other data")
        case b"FULL":
            limit = f"at most {_MOST_KEPT} signals with {_MOST_BYTES:,} bytes"
            return ConflictError(f"the job has not taken earlier signals yet: it keeps {limit}")
    return None
