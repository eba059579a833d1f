"""Result sender of HTTP links: sends results to the web address of their tasks or another of the same group.

Heartbeats name a task until its result is delivered, so that it is not given to another worker.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import time
from typing import Any
from uuid import uuid4

from orjson import Fragment

from avtomatika.addresses import Address
from avtomatika.errors import InvalidRequestError, NoRouteError, UnauthorizedError, UnavailableError
from avtomatika.schemas import wire

from .http_client import HttpClient, RequestTooLargeError
from .identity import Identity
from .pending import PendingResult, send_each
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)

#: Maximum length of an unexpected reply in messages.
_SHOWN = 120


class Peers:
    """Sends requests to any healthy web address of the group of the link of *slot*; *own* is its address if it is a web
    address. Not thread-safe, except :meth:`abort`."""

    def __init__(self, identity: Identity, slot: LinkSlot, own: Address | None = None) -> None:
        self._identity = identity
        self._slot = slot
        self._own = own
        self._clients: dict[Address, HttpClient] = {}
        self._is_aborted = False

    def request(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the first reply: from the own address while it is healthy, otherwise from any other."""
        clients = self._in_order()
        for client in clients[:-1]:
            try:
                return client.request("POST", path, body)
            except UnavailableError as error:
                if self._is_aborted:
                    raise
                logger.info("%s; trying another address of the same group", error)
        if not clients:
            raise UnavailableError("no web address of the same group can be reached")
        return clients[-1].request("POST", path, body)

    def _in_order(self) -> list[HttpClient]:
        addresses = self._slot.peers()
        if self._own is not None:
            addresses.insert(0 if self._slot.is_healthy() else len(addresses), self._own)
        for address in addresses:
            if address not in self._clients:
                self._clients[address] = HttpClient(address, self._identity.headers)
        return [self._clients[address] for address in addresses]

    def abort(self) -> None:
        """Abort a running request. Any thread may call it."""
        self._is_aborted = True
        for client in list(self._clients.values()):
            client.abort()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


class HttpResultSender:
    """Sends results for the link of *slot*. ``in_flight`` holds the tasks whose results are not delivered."""

    def __init__(self, identity: Identity, slot: LinkSlot, own: Address | None = None) -> None:
        """*own* is the address of the link, if it is a web address."""
        self._identity = identity
        self._peers = Peers(identity, slot, own)
        self.in_flight: dict[str, object] = {}
        slot.set_in_flight(self.in_flight)

    def prepare(self, pending: PendingResult) -> None:
        """Do nothing: the body does not depend on the sender."""

    def on_kept(self, pending: PendingResult) -> None:
        if self._is_own(pending):  # heartbeats renew its lease
            self.in_flight.setdefault(pending.task_id, pending)

    def send(self, results: deque[PendingResult]) -> None:
        for pending in send_each(results, self.deliver):
            self.in_flight.pop(pending.task_id, None)

    def send_progress(self, progress: Sequence[wire.Progress]) -> None:
        for each in progress:
            payload = {"progress": each.progress, "message": each.message}
            self._peers.request("/_worker/events", _event(each, "progress", payload, self._identity.worker_id))

    def send_chunks(self, chunks: Sequence[wire.RunChunks]) -> None:
        for each in chunks:
            with suppress(InvalidRequestError):  # an older orchestrator
                self._peers.request(
                    "/_worker/events",
                    _event(each, "stream", {"run": each.run, "chunks": each.chunks}, self._identity.worker_id),
                )

    def abort(self) -> None:
        self._peers.abort()

    def close(self) -> None:
        self._peers.close()

    def deliver(self, pending: PendingResult) -> None:
        """Deliver one result. Raises an error if it may be accepted later."""
        refusals = (InvalidRequestError,) if self._is_own(pending) else (InvalidRequestError, UnauthorizedError)
        try:
            answer = self._peers.request("/_worker/tasks/result", _body(pending)) or {}
        except RequestTooLargeError as error:  # a restarted server may have a higher MAX_INLINE_BYTES
            raise NoRouteError("", "", f"{error}; raise its MAX_INLINE_BYTES") from error
        except refusals as error:
            logger.error("task %s: %s; its result is dropped", pending.task_id, error)
        else:
            match answer.get("status"):
                case "accepted":
                    pass
                case "ignored":
                    logger.warning("task %s: its result was ignored: %s", pending.task_id, answer.get("message"))
                case _:  # the reply is not from an orchestrator
                    raise UnavailableError(
                        f"the result of task {pending.task_id} was not accepted: {str(answer)[:_SHOWN]}"
                    )
        self.in_flight.pop(pending.task_id, None)

    def _is_own(self, pending: PendingResult) -> bool:
        """Return whether it is from this worker, not from one with another id that left it in the spool."""
        return pending.result.worker_id == self._identity.worker_id


def _event(
    report: wire.Progress | wire.RunChunks, kind: str, payload: Mapping[str, Any], worker_id: str
) -> dict[str, Any]:
    """Return a report as a gateway event."""
    return {
        "event_id": str(uuid4()),
        "worker_id": worker_id,
        "event_type": kind,
        "payload": payload,
        "target_job_id": report.job_id,
        "target_task_id": report.task_id,
        "attempt": report.attempt,
        "timestamp": int(time()),
    }


def _body(pending: PendingResult) -> dict[str, Any]:
    """Return a result as the gateway's request body. A retry sends the same bytes, which the gateway recognizes."""
    result = pending.result
    body: dict[str, Any] = {
        "job_id": result.job_id,
        "task_id": result.task_id,
        "attempt": result.attempt,
        "worker_id": result.worker_id,
        "status": result.status,
        "costs": {"execution_time_seconds": (result.duration_ms or 0) / 1000},
        "timestamp": pending.finished_at,
    }
    if result.data is not None:
        data = result.data if pending.encoded is None else Fragment(pending.encoded)
        body["data"] = data if isinstance(result.data, dict) else {"result": data}
    if result.error is not None:
        body["error"] = dict(result.error)
    return body
