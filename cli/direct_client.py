"""The operators' part of the HTTP API, directly on the server: works without a web process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

from avtomatika.core.graph.traffic import Traffic
from avtomatika.core.plan import Plan
from avtomatika.diagnosis import server_findings
from avtomatika.schemas.api_doctor import FindingSchema
from avtomatika.schemas.api_queues import DeadLetterSchema, MessageSchema
from avtomatika.schemas.api_workers import WorkerSchema
from avtomatika.settings import Settings
from avtomatika.store import Queues, Store, WorkerRegistry
from avtomatika.tokens import Workers


class DirectClient:
    """The methods of Client that commands for operators use, with a connection to the server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store.connect(str(settings.redis_url), secret=settings.group_secret)

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def workers(self) -> list[dict[str, Any]]:
        workers = Workers(**self._settings.worker_tokens, revoked_names=self._store.registry)
        with closing(
            WorkerRegistry.connect(str(self._settings.redis_url), is_authorized=workers.may_authenticate)
        ) as registry:
            return _dumped(WorkerSchema(many=True).dump(registry.workers()))

    def queues(self) -> list[dict[str, Any]]:
        return [asdict(queue) for queue in self._queues.all()]

    def messages(self, queue: str, *, limit: int = 20) -> list[dict[str, Any]]:
        return _dumped(MessageSchema(many=True).dump(self._queues.peek(queue, limit=limit)))

    def purge(self, queue: str) -> int:
        return self._queues.purge(queue)

    def dead_letters(self, *, queue: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        return _dumped(DeadLetterSchema(many=True).dump(self._queues.dead(limit=limit, queue=queue)))

    def dead_letter(self, letter_id: str) -> dict[str, Any]:
        return dict(_letter(self._queues.dead_letter(letter_id)))

    def requeue_dead_letter(self, letter_id: str) -> dict[str, Any]:
        return dict(_letter(self._queues.requeue(letter_id)))

    def drop_dead_letter(self, letter_id: str) -> None:
        self._queues.drop(letter_id)

    def doctor(self) -> list[dict[str, Any]]:
        return _dumped(FindingSchema(many=True).dump(server_findings(self._store)))

    def traffic(self, plan: Plan) -> Traffic:
        """Return the traffic of the jobs of *plan*."""
        return self._store.traffic.of(plan).traffic

    @property
    def _queues(self) -> Queues:
        return self._store.queues


def _letter(letter: object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = DeadLetterSchema().dump(letter)
    return found


def _dumped(rows: Any) -> list[dict[str, Any]]:
    return list(rows)
