"""kombu's channel methods for publishing, and settling messages and acknowledgements atomically."""

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from avtomatika.transport.consuming.qos import QoS
from avtomatika.transport.declaring.channel import DeclaringChannel
from avtomatika.transport.envelope import Outgoing
from avtomatika.transport.errors import NoRouteError

from .publisher import EncodedMessage, PublishBatch, Publisher, encoded_message


class PublishingChannel(DeclaringChannel):
    """Any thread may publish and settle. Each call writes everything, or raises an error and writes nothing."""

    _publisher: Publisher
    _qos: QoS

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: Any) -> None:
        encoded = encoded_message(message, exchange, routing_key)
        try:
            self._publisher.publish(encoded)
        except NoRouteError:
            if not self._restore():
                raise
            self._publisher.publish(encoded)

    def publish_all(self, messages: Sequence[EncodedMessage]) -> None:
        """Publish all of *messages*, or raise and publish none."""
        try:
            self._publisher.publish_all(messages)
        except NoRouteError:
            if not self._restore():
                raise
            self._publisher.publish_all(messages)

    def _restore(self) -> bool:
        """Redeclare entities that the server may have lost although kombu believes them declared."""
        self.connection.client.declared_entities.clear()
        return self.declarations.restore_lost()

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        return PublishBatch(self, max_size)

    def settle(self, outgoing: Sequence[Outgoing], acks: Sequence[str]) -> tuple[str, ...]:
        """Publish all of *outgoing* and acknowledge all of *acks* atomically.

        Returns the tags whose lease is lost; if there are any, nothing was done. Raises NoRouteError and the
        server's errors.
        """
        [lost] = self._settle([(outgoing, acks)])
        return lost

    def settle_many(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        *,
        on_sent: Callable[[], object] | None = None,
    ) -> list[bool]:
        """Settle each pair of messages and tags atomically, in one round trip; False for a pair of which
        nothing was done.

        *on_sent* is called before the replies are read, unless sending failed.
        """
        return [not lost for lost in self._settle(settlements, on_sent)]

    def _settle(
        self,
        settlements: Sequence[tuple[Sequence[Outgoing], Sequence[str]]],
        on_sent: Callable[[], object] | None = None,
    ) -> list[tuple[str, ...]]:
        lost: list[tuple[str, ...]] = []
        refused = None
        answers = self._publisher.settle_all(settlements, on_sent=on_sent)
        for (_, acks), answer in zip(settlements, answers, strict=True):
            if isinstance(answer, ResponseError):
                refused = answer
            else:
                self._qos.release(answer or acks)
                lost.append(answer)
        if refused is not None:
            raise refused
        return lost
