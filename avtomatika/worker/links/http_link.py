"""The link over HTTP: asks a web address for tasks and brings the results there. The worker needs nothing else.

One thread asks for tasks, one keeps what is in hand by heartbeats, one brings results (``outbox``), each over a
connection of its own: none can hold up another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlencode

from avtomatika.broker.backoff import pause_seconds
from avtomatika.errors import AvtomatikaError, NotFoundError, UnavailableError
from avtomatika.worker.config import Address
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpoolPartition

from .http_client import HttpClient
from .http_results import HttpResultSender
from .http_task import HttpTask, http_task
from .identity import Pulse, WorkerStatus
from .outbox import Outbox
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)

#: Longest time between two heartbeats; shorter leases shorten it.
_BEAT_SECONDS = 5.0
#: The same while nobody has said how long leases are.
_FIRST_BEAT_SECONDS = 0.5
#: How long the asking thread waits for its turn before it looks whether it shall stop.
_TURN_SECONDS = 1.0
#: A poll that was to be held ends no sooner.
_SHORTEST_POLL_SECONDS = 0.25
#: How much of an unexpected answer is logged.
_SHOWN = 120
#: So much longer than its own tasks may take a link is there for those of others ...
_GRACE_SECONDS = 2.0
#: ... and looks so often whether there are any.
_LOOK_SECONDS = 0.05


class HttpLink:
    """Takes tasks from *address* whenever its *seat* has a turn."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        address: Address,
        presence: WorkerStatus,
        seat: LinkSlot,
        drain_timeout_seconds: float,
        cancel: Callable[[Callable[[TaskExecution], bool]], None],
        shelf: SpoolPartition | None = None,
    ) -> None:
        """*cancel* has assignments of all links end: what is kept over this one may have come by another."""
        self._cancel = cancel
        self._runtime = runtime
        self._address = address
        self._presence = presence
        self._identity = identity = presence.identity
        self._seat = seat
        self._drain_timeout_seconds = drain_timeout_seconds
        self._asking, self._beating = (HttpClient(address, identity.headers) for _ in range(2))
        self._deliveries = HttpResultSender(identity, seat, address)
        self._outbox = Outbox(runtime, self._deliveries, shelf)
        self._beat_seconds = _FIRST_BEAT_SECONDS
        self._is_registered = False
        self._stopping = threading.Event()
        self._pulse = Pulse()
        seat.on_switch(self._pulse.now)

    def stop(self) -> None:
        self._stopping.set()
        self._seat.wake()
        self._asking.end()

    def run(self) -> None:
        beats = threading.Thread(target=self._beat_on, name="heartbeats", daemon=True)
        beats.start()
        self._outbox.start()
        self._take_tasks()
        deadline = monotonic() + self._drain_timeout_seconds + _GRACE_SECONDS
        self._drain()
        self._wait_for_others(deadline)
        self._pulse.end()
        beats.join()
        self._leave()

    # ------------------------------------------------------------ take

    def _take_tasks(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if not self._is_registered:
                    self._register(self._asking)
                if self._turn():
                    failures = 0
            except Exception as error:  # whatever it is: this loop has to go on
                if not self._stopping.is_set():
                    failures += 1
                    self._fail(error, failures)

    def _register(self, exchange: HttpClient) -> None:
        body = self._identity.registration() | {"current_tasks": self._seat.in_hand()}
        answer = exchange.ask("POST", "/_worker/workers/register", body) or {}
        self._check(answer, "registered")
        lease_seconds: Any = answer.get("lease_seconds")
        is_known = isinstance(lease_seconds, int | float) and lease_seconds > 0
        self._beat_seconds = min(_BEAT_SECONDS, lease_seconds / 4) if is_known else _BEAT_SECONDS
        self._presence.registered()
        self._is_registered = True
        broker_id = answer.get("broker")
        self._seat.joined(broker_id if isinstance(broker_id, str) else None)
        self._seat.recovered()
        self._pulse.now()
        logger.info("registered with %s", self._address)

    def _check(self, answer: Mapping[str, Any], status: str) -> None:
        """Raises UnavailableError where something else than an orchestrator answers."""
        if answer.get("status") != status:
            raise UnavailableError(f"{self._address} answers without status {status!r}: {str(dict(answer))[:_SHOWN]}")

    def _turn(self) -> bool:
        """Ask once, if it is our turn; whether it was."""
        self._runtime.move("intake")
        if not self._runtime.fit_task_types:
            self._stopping.wait(_TURN_SECONDS)
            return False
        turn = self._seat.take(_TURN_SECONDS)
        if turn is None:
            return False
        taken, asked_at = 0, monotonic()
        try:
            polled = self._ask(turn.wait_seconds)
            if polled is None and monotonic() - asked_at < min(turn.wait_seconds, _SHORTEST_POLL_SECONDS):
                self._stopping.wait(_SHORTEST_POLL_SECONDS)  # it was asked to wait, and did not
            if polled is not None:
                self._deliveries.in_hand[polled.task.task_id] = polled.task
                self._seat.wait_for_slot(turn, self._stopping.is_set)
                taken = self._begin(polled)
        finally:
            self._seat.ended(turn, taken=taken)
        return True

    def _ask(self, wait_seconds: float) -> HttpTask | None:
        query = urlencode({"timeout": wait_seconds, "available_skills": ",".join(self._runtime.fit_task_types)})
        path = f"/_worker/workers/{self._identity.worker_id}/tasks/next?{query}"
        answer = self._asking.ask("GET", path, wait_seconds=wait_seconds)
        return None if answer is None else http_task(answer, self._address)

    def _begin(self, polled: HttpTask) -> int:
        """Begin, unless we stop or cannot: then nobody names the task any more, and it goes back."""
        task = polled.task
        if self._stopping.is_set() or not self._runtime.has_skill(task.task_type):
            self._deliveries.in_hand.pop(task.task_id, None)
            logger.warning("task %s (%s) is not begun", task.task_id, task.task_type)
            return 0
        self._runtime.start([(task, polled)])
        return 1

    def _fail(self, error: Exception, failures: int) -> None:
        self._is_registered = False
        self._seat.failed()
        seconds = pause_seconds(failures)
        if isinstance(error, UnavailableError):
            seconds = max(seconds, error.retry_after_seconds)
        trace = None if isinstance(error, AvtomatikaError) else error
        logger.warning("%s; trying again in %.1f s", error, seconds, exc_info=trace)
        self._stopping.wait(seconds)

    # ------------------------------------------------------------ keep

    def _beat_on(self) -> None:
        while self._pulse.wait(self._beat_seconds):
            if not self._is_registered and not self._deliveries.in_hand:
                continue
            try:
                self._beat(hands_back=self._stopping.is_set())
            except NotFoundError:  # it has forgotten us
                self._is_registered = False
                self._asking.abort()
            except Exception as error:  # whatever it is: this loop has to go on
                if self._is_registered and not self._stopping.is_set():
                    logger.warning("%s", error, exc_info=None if isinstance(error, AvtomatikaError) else error)
                    self._seat.failed()
                    self._is_registered = False
                    self._asking.abort()

    def _beat(self, *, status: str | None = None, hands_back: bool = False) -> None:
        named = self._seat.in_hand()
        body = self._presence.heartbeat(status=status) | {"current_tasks": named, "hands_back": hands_back}
        answer = self._beating.ask("PATCH", f"/_worker/workers/{self._identity.worker_id}", body) or {}
        self._check(answer, "ok")
        unwanted = answer.get("cancel_task_ids")
        if isinstance(unwanted, list) and unwanted:
            self._cancel(lambda assignment: assignment.task.task_id in unwanted)

    # ------------------------------------------------------------ stop

    def _drain(self) -> None:
        """Let what is begun end and its results arrive, for as long as that may take."""
        self._let_go(self._runtime.withdraw(self._drain_timeout_seconds))
        self._pulse.now()  # what was let go is for others, at once
        self._outbox.finish(self._drain_timeout_seconds)
        self._let_go(self._runtime.close())
        for letter in self._outbox.stop():
            logger.error("task %s: its result could not be brought", letter.task_id)
        self._deliveries.close()

    def _wait_for_others(self, deadline: float) -> None:
        """Go on with heartbeats while other links of the group let end what is kept by them."""
        while self._is_registered and monotonic() < deadline:
            if not set(self._seat.in_hand()) - self._deliveries.in_hand.keys():
                return
            sleep(_LOOK_SECONDS)

    def _let_go(self, assignments: Sequence[Any]) -> None:
        for assignment in assignments:
            logger.info("task %s, attempt %d: handed back", assignment.task.task_id, assignment.task.attempt)
            self._deliveries.in_hand.pop(assignment.task.task_id, None)

    def _leave(self) -> None:
        """Say good-bye: what we still have goes to others at once."""
        try:
            if self._is_registered:
                self._beat(status="offline", hands_back=True)
        except AvtomatikaError as error:
            logger.warning("%s; what is held comes to others after its lease", error)
        for exchange in (self._asking, self._beating):
            exchange.close()
