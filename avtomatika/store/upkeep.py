"""What must happen by the clock: due timers are sent on, old jobs go. Any orchestrator does it; none is special."""

from __future__ import annotations

from avtomatika.core.plan import TIMERS
from avtomatika.transport import Router, Server
from avtomatika.transport.scripts import Call

from .keys import Keys
from .records import JOB_FIELDS, load_job
from .scripts import DUE_TIMERS, EXPIRE, read_all, run, run_all, server_errors

#: Done at most in one go, so that no sweep holds the server or us for long.
_BATCH = 500


class Upkeep:
    """Sweeps over one server."""

    def __init__(self, server: Server, router: Router, *, prefix: str = "avt:") -> None:
        self._server = server
        self._router = router
        self._keys = Keys(prefix)

    def send_due_timers(self) -> int:
        """Move due timers into their queue; answers how many. Call again while it answers as many as fit."""
        with server_errors():
            [queue] = self._router.route(TIMERS, TIMERS).queues
            keys = [self._keys.timers(), self._keys.timer_messages(), self._router.stream(queue, 0)]
        return int(run(self._server, Call(DUE_TIMERS, keys, [_BATCH])))

    def expire_jobs(self) -> int:
        """Remove jobs whose time is over; answers how many went."""
        [clock] = read_all(self._server, [("TIME",)])
        due = ("ZRANGE", self._keys.retention(), "-inf", int(clock[0]) * 1000, "BYSCORE", "LIMIT", 0, _BATCH)
        job_ids = [job_id.decode() for job_id in read_all(self._server, [due])[0]]
        rows = read_all(self._server, [("HMGET", self._keys.job(job_id), *JOB_FIELDS) for job_id in job_ids])
        calls = []
        for job_id, row in zip(job_ids, rows, strict=True):
            job = load_job(job_id, row)
            indexes = [] if job is None else self._keys.indexes(job)
            retention, *own = self._keys.all_of(job_id)
            calls.append(Call(EXPIRE, [retention, *own, *indexes], [job_id, len(own)]))
        return sum(int(answer) for answer in run_all(self._server, calls))

    def claim(self, name: str, *, seconds: int) -> bool:
        """Whether we are the one of all orchestrators to do what is done once in so many *seconds*."""
        with server_errors():
            [answer] = self._server.execute_all([("SET", self._keys.claim(name), 1, "NX", "EX", seconds)])
        return answer is not None

    def let_go(self, name: str) -> None:
        """Leave to whoever comes next what we claimed and could not do."""
        with server_errors():
            self._server.execute_all([("DEL", self._keys.claim(name))])
