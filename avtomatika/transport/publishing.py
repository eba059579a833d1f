"""The part of the channel that sends: kombu's calls on it, and messages and acknowledgements in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from .declaring import DeclaringChannel
from .envelope import Outgoing
from .errors import NoRouteError
from .publisher import EncodedMessage, PublishBatch, Publisher, encoded_message
from .qos import QoS


class PublishingChannel(DeclaringChannel):
    """Any thread may publish and settle. What is sent goes out whole, or not at all and with an error."""

    _sender: Publisher
    _held: QoS

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: Any) -> None:
        parcel = encoded_message(message, exchange, routing_key)
        try:
            self._sender.publish(parcel)
        except NoRouteError:
            if not self._restore():
                raise
            self._sender.publish(parcel)

    def publish_all(self, parcels: Sequence[EncodedMessage]) -> None:
        """Send all of *parcels* or, raising, none."""
        try:
            self._sender.publish_all(parcels)
        except NoRouteError:
            if not self._restore():
                raise
            self._sender.publish_all(parcels)

    def _restore(self) -> bool:
        """Declare again what the server may have lost though kombu believes it to be declared."""
        self.connection.client.declared_entities.clear()
        return self.declarations.restore_lost()

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        return PublishBatch(self, max_size)

    def settle(self, outgoing: Sequence[Outgoing], acks: Sequence[str]) -> tuple[str, ...]:
        """Publish all of *outgoing* and acknowledge all of *acks*, or nothing of it.

        Answers the tags that are held no more: empty when it was done. Raises NoRouteError and what the server refuses.
        """
        [lost] = self._settle([(outgoing, acks)])
        return lost

    def settle_many(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[bool]:
        """Each pair of messages and tags wholly or, answering False, not at all; all in one round trip.

        *on_sent* is called once, before the answers are awaited; not at all where nothing could be sent.
        """
        return [not lost for lost in self._settle(settlements, on_sent)]

    def _settle(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        on_sent: Callable[[], object] | None = None,
    ) -> list[tuple[str, ...]]:
        lost: list[tuple[str, ...]] = []
        refused = None
        answers = self._sender.settle_all(settlements, on_sent=on_sent)
        for (_, acks), answer in zip(settlements, answers, strict=True):
            if isinstance(answer, ResponseError):
                refused = answer
            else:
                self._held.release(answer or acks)
                lost.append(answer)
        if refused is not None:
            raise refused
        return lost
