"""A kombu transport on Redis Streams; ``Connection("redis://...", transport="avtomatika.transport:Transport")``.

Knows nothing of blueprints; any kombu program may use it.
"""

from .channel import Channel
from .connect import connect
from .envelope import ON_DEAD_HEADER, Outgoing
from .errors import CallbackError, MessageTooLargeError, NoRouteError, is_temporary
from .inspector import Inspector, Queued, QueueStats, StoredMessage, Unacked
from .keys import Keys
from .redis_client import RedisClient
from .routing import Route, Router
from .topology import Topology
from .transport import Transport

__all__ = [
    "ON_DEAD_HEADER",
    "CallbackError",
    "Channel",
    "Inspector",
    "Keys",
    "MessageTooLargeError",
    "NoRouteError",
    "Outgoing",
    "QueueStats",
    "Queued",
    "RedisClient",
    "Route",
    "Router",
    "StoredMessage",
    "Topology",
    "Transport",
    "Unacked",
    "connect",
    "is_temporary",
]
