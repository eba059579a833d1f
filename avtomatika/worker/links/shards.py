"""The shards of an installation: there may be more than the worker's settings say, and more later."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from avtomatika import broker
from avtomatika.broker import Consumer

logger = logging.getLogger(__name__)

#: Interval at which the recorded number of shards is read.
_READ_SECONDS = 30.0


class AllShards:
    """Replaces the *connection* of a link when its installation has recorded more shards."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._recorded: tuple[str, ...] = ()
        self._read_at = float("-inf")

    def follow(self, consumer: Consumer, *, deferred: int, declare: Callable[[], object]) -> bool:
        """Consume from added shards too, once *consumer* holds no tasks but *deferred* ones. Return False until then:
        it must take no others. *declare* declares its queues. Raises UnavailableError."""
        if monotonic() - self._read_at >= _READ_SECONDS:
            self._recorded, self._read_at = consumer.recorded_prefixes(), monotonic()
        if len(self._recorded) <= len(consumer.channel.server.prefixes):
            return True
        if consumer.channel.held > deferred:
            return False
        former, self.connection = self.connection, broker.for_shards(self.connection, self._recorded)
        try:
            declare()
            consumer.move(self.connection)
        except BaseException:
            self.connection, former = former, self.connection
            raise
        finally:
            former.release()
        logger.info("taking tasks from the %d shards of the installation", len(self._recorded))
        return True
