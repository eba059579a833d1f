"""A kombu transport on Redis Streams: ``Connection("redis://...", transport="avtomatika.transport:Transport")``.

It is independent of blueprints; any kombu program can use it. A message passes :mod:`.publishing`, :mod:`.consuming`
and :mod:`.leases`; :mod:`.channel` and :mod:`.transport` implement kombu's interface on top of them.
"""

from .channel import Channel
from .connection.connect import connect
from .connection.redis_client import Command, Reading, RedisClient, info_fields, none_refused, together
from .declaring.expiry import FAIR, IF_EMPTY
from .declaring.topology import Topology
from .envelope import FLOW_HEADER, ON_DEAD_HEADER, Outgoing
from .errors import CallbackError, MessageTooLargeError, NoRouteError, is_temporary
from .flow import FlowControl, Limit, Place, QueueWaiting
from .inspector import Inspector, Queued, QueueStats, StoredMessage, Unacked
from .keys import Keys
from .leases import LEASE_OBSERVERS
from .publishing.routing import Route, Router
from .transport import Transport

__all__ = [
    "FAIR",
    "FLOW_HEADER",
    "IF_EMPTY",
    "LEASE_OBSERVERS",
    "ON_DEAD_HEADER",
    "CallbackError",
    "Channel",
    "Command",
    "FlowControl",
    "Inspector",
    "Keys",
    "Limit",
    "MessageTooLargeError",
    "NoRouteError",
    "Outgoing",
    "Place",
    "QueueStats",
    "QueueWaiting",
    "Queued",
    "Reading",
    "RedisClient",
    "Route",
    "Router",
    "StoredMessage",
    "Topology",
    "Transport",
    "Unacked",
    "connect",
    "info_fields",
    "is_temporary",
    "none_refused",
    "together",
]
