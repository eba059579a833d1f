"""HTTP link: polls a web address for tasks and sends results there. The worker needs no other access.

One thread polls, one sends heartbeats, which renew the leases, and one sends results (``outbox``), each over its own
connection, so that none delays another.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlencode

from avtomatika.addresses import Address
from avtomatika.broker.backoff import Backoff
from avtomatika.errors import AvtomatikaError, NotFoundError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.spool import SpoolPartition

from .http_client import HttpClient
from .http_results import HttpResultSender
from .identity import WorkerStatus
from .outbox import Outbox
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)

#: Maximum interval between heartbeats; with short leases it is a quarter of the lease.
_HEARTBEAT_SECONDS = 5.0
#: The same until the lease duration is known.
_FIRST_HEARTBEAT_SECONDS = 0.5
#: Interval at which the polling thread, waiting for a grant, checks for a stop request.
_TURN_SECONDS = 1.0
#: Minimum duration of a long poll that returns no task.
_SHORTEST_POLL_SECONDS = 0.25
#: Maximum length of an unexpected reply in the log.
_SHOWN = 120
#: A stopping link serves the tasks of other links for this much longer than its own ...
_GRACE_SECONDS = 2.0
#: ... and checks at this interval whether there are any.
_CHECK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class HttpTask:
    """A task, and how often it was delivered, this delivery included."""

    task: wire.TaskMessage
    deliveries: int


def parse_task(answer: Mapping[str, Any], address: Address) -> HttpTask:
    """Parse the task in *answer*. Raises UnavailableError if it is invalid. The gateway knows where its result goes."""
    job_id, task_id, task_type = (answer.get(name) for name in ("job_id", "task_id", "type"))
    params, attempt, outcomes = answer.get("params"), answer.get("attempt", 1), answer.get("outcomes", [])
    client, deliveries = answer.get("client"), answer.get("deliveries", 1)
    if not (
        all(isinstance(text, str) and text for text in (job_id, task_id, task_type))
        and isinstance(params, dict)
        and type(attempt) is int
        and isinstance(outcomes, list)
        and type(deliveries) is int
        and (client is None or isinstance(client, str))
    ):
        raise UnavailableError(f"{address} replied with an invalid task: {sorted(answer)}", retry_after_seconds=0)
    task = wire.TaskMessage(
        job_id=str(job_id),
        task_id=str(task_id),
        attempt=attempt,
        task_type=str(task_type),
        params=params,
        outcomes=tuple(map(str, outcomes)),
        reply_exchange="",
        reply_prefix="",
        client=client,
        tracing_context=context if isinstance(context := answer.get("tracing_context"), dict) and context else None,
    )
    return HttpTask(task, deliveries)


class HttpLink:
    """Takes tasks from *address* whenever *slot* has a grant."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        address: Address,
        worker_status: WorkerStatus,
        slot: LinkSlot,
        drain_timeout_seconds: float,
        cancel: Callable[[Callable[[TaskExecution], bool]], None],
        partition: SpoolPartition | None = None,
    ) -> None:
        """*cancel* cancels executions of all links: this one may have adopted tasks of another."""
        self._cancel = cancel
        self._runtime = runtime
        self._address = address
        self._worker_status = worker_status
        self._identity = identity = worker_status.identity
        self._slot = slot
        self._drain_timeout_seconds = drain_timeout_seconds
        self._poll_client, self._heartbeat_client = (HttpClient(address, identity.headers) for _ in range(2))
        self._result_sender = HttpResultSender(identity, slot, address)
        self._outbox = Outbox(runtime, self._result_sender, partition)
        self._heartbeat_seconds = _FIRST_HEARTBEAT_SECONDS
        self._is_registered = False
        self._stopping = threading.Event()
        #: Set when a heartbeat must be sent immediately.
        self._is_due = threading.Event()
        #: True if the next heartbeat must requeue the tasks that it does not name.
        self._returns_tasks = False
        self._has_drained = False
        slot.on_switch(self._is_due.set)

    def stop(self) -> None:
        self._stopping.set()
        self._slot.wake()
        self._poll_client.shut_down()

    def run(self) -> None:
        beats = threading.Thread(target=self._send_heartbeats, name="heartbeats", daemon=True)
        beats.start()
        self._outbox.start()
        self._take_tasks()
        deadline = monotonic() + self._drain_timeout_seconds + _GRACE_SECONDS
        self._outbox.drain(self._drain_timeout_seconds, self._release)
        self._result_sender.close()
        self._wait_for_others(deadline)
        self._has_drained = True
        self._is_due.set()
        beats.join()
        self._sign_off()

    # ------------------------------------------------------------ take

    def _take_tasks(self) -> None:
        backoff = Backoff(logger, "retrying")
        while not self._stopping.is_set():
            try:
                if not self._is_registered:
                    self._register(self._poll_client)
                if self._run_once():
                    backoff.succeeded()
            except Exception as error:  # this loop must not end
                if not self._stopping.is_set():
                    self._pause(error, backoff.failed(error))

    def _register(self, client: HttpClient) -> None:
        body = self._identity.registration() | {"current_tasks": self._slot.in_flight()}
        answer = client.request("POST", "/_worker/workers/register", body) or {}
        self._check(answer, "registered")
        lease_seconds: Any = answer.get("lease_seconds")
        is_known = isinstance(lease_seconds, int | float) and lease_seconds > 0
        self._heartbeat_seconds = min(_HEARTBEAT_SECONDS, lease_seconds / 4) if is_known else _HEARTBEAT_SECONDS
        self._worker_status.mark_registered()
        self._is_registered = True
        broker_id = answer.get("broker")
        self._slot.set_broker(broker_id if isinstance(broker_id, str) else None)
        self._slot.recovered()
        self._is_due.set()
        logger.info("registered with %s", self._address)

    def _check(self, answer: Mapping[str, Any], status: str) -> None:
        """Raise UnavailableError if the reply is not from an orchestrator."""
        if answer.get("status") != status:
            raise UnavailableError(f"{self._address} replied without status {status!r}: {str(dict(answer))[:_SHOWN]}")

    def _run_once(self) -> bool:
        """Poll once if granted; return whether it was."""
        self._runtime.mark_alive("intake")
        if self._outbox.is_resending:
            self._stopping.wait(_CHECK_SECONDS)
            return False
        if self._worker_status.is_draining:
            self._return_unstarted()
        if self._worker_status.is_draining or not self._runtime.available_task_types:
            self._stopping.wait(_TURN_SECONDS)
            return False
        grant = self._slot.take(_TURN_SECONDS)
        if grant is None:
            return False
        taken, polled_at = 0, monotonic()
        try:
            http_task = self._poll(grant.wait_seconds)
            if http_task is None and monotonic() - polled_at < min(grant.wait_seconds, _SHORTEST_POLL_SECONDS):
                self._stopping.wait(_SHORTEST_POLL_SECONDS)  # the server did not hold the poll
            if http_task is not None:
                self._result_sender.in_flight[http_task.task.task_id] = http_task.task
                self._slot.wait_for_slot(grant, self._stopping.is_set)
                taken = self._start_task(http_task)
        finally:
            self._slot.complete(grant, taken=taken)
        return True

    def _return_unstarted(self) -> None:
        """Requeue tasks that have not started: the next heartbeat says so."""
        if withdrawn := self._runtime.withdraw():
            self._release(withdrawn)
            self._returns_tasks = True
            self._is_due.set()

    def _poll(self, wait_seconds: float) -> HttpTask | None:
        query = urlencode({"timeout": wait_seconds, "available_skills": ",".join(self._runtime.available_task_types)})
        path = f"/_worker/workers/{self._identity.worker_id}/tasks/next?{query}"
        answer = self._poll_client.request("GET", path, wait_seconds=wait_seconds)
        return None if answer is None else parse_task(answer, self._address)

    def _start_task(self, http_task: HttpTask) -> int:
        """Start the task, unless the link is stopping or lacks the skill: then heartbeats no longer name it and it is
        requeued."""
        task = http_task.task
        if self._stopping.is_set() or not self._runtime.has_skill(task.task_type):
            self._result_sender.in_flight.pop(task.task_id, None)
            logger.warning("task %s (%s) is not started and will be requeued", task.task_id, task.task_type)
            return 0
        self._runtime.submit([(task, http_task)])
        return 1

    def _pause(self, error: Exception, seconds: float) -> None:
        self._is_registered = False
        self._slot.failed()
        retry_after_seconds = error.retry_after_seconds if isinstance(error, UnavailableError) else 0
        self._stopping.wait(max(seconds, retry_after_seconds))

    # ------------------------------------------------------------ keep

    def _send_heartbeats(self) -> None:
        while True:
            self._is_due.wait(self._heartbeat_seconds)
            self._is_due.clear()
            if self._has_drained:
                return
            if not self._is_registered and not self._result_sender.in_flight:
                continue
            returns_tasks, self._returns_tasks = self._returns_tasks, False
            try:
                status = "draining" if self._stopping.is_set() else None
                self._send_heartbeat(status=status, returns_tasks=returns_tasks or self._stopping.is_set())
            except NotFoundError:  # the server does not know this worker any more
                self._is_registered = False
                self._poll_client.abort()
            except Exception as error:  # this loop must not end
                self._returns_tasks |= returns_tasks
                if self._is_registered and not self._stopping.is_set():
                    logger.warning("%s", error, exc_info=None if isinstance(error, AvtomatikaError) else error)
                    self._slot.failed()
                    self._is_registered = False
                    self._poll_client.abort()

    def _send_heartbeat(self, *, status: str | None = None, returns_tasks: bool = False) -> None:
        task_ids = self._slot.in_flight()
        body = self._worker_status.heartbeat(status=status) | {"current_tasks": task_ids, "hands_back": returns_tasks}
        answer = self._heartbeat_client.request("PATCH", f"/_worker/workers/{self._identity.worker_id}", body) or {}
        self._check(answer, "ok")
        self._set_draining(answer.get("drain") is True)
        cancelled_ids = answer.get("cancel_task_ids")
        if isinstance(cancelled_ids, list) and cancelled_ids:
            self._cancel(lambda execution: execution.task.task_id in cancelled_ids)

    def _set_draining(self, is_draining: bool) -> None:
        if is_draining and not self._worker_status.is_draining:
            logger.warning("draining: taking no tasks from %s", self._address)
            self._is_due.set()  # confirms it
        self._worker_status.is_draining = is_draining

    # ------------------------------------------------------------ stop

    def _wait_for_others(self, deadline: float) -> None:
        """Keep sending heartbeats for tasks of other links of the group while they drain."""
        while self._is_registered and monotonic() < deadline:
            if not set(self._slot.in_flight()) - self._result_sender.in_flight.keys():
                return
            sleep(_CHECK_SECONDS)

    def _release(self, executions: Sequence[Any]) -> None:
        for execution in executions:
            self._result_sender.in_flight.pop(execution.task.task_id, None)
        self._is_due.set()  # a heartbeat requeues them

    def _sign_off(self) -> None:
        """Announce that the worker is offline, which requeues its tasks immediately."""
        try:
            if self._is_registered:
                self._send_heartbeat(status="offline", returns_tasks=True)
        except AvtomatikaError as error:
            logger.warning("%s; unfinished tasks are requeued when their leases expire", error)
        for client in (self._poll_client, self._heartbeat_client):
            client.close()
