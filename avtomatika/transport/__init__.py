"""A kombu transport on Redis Streams; ``Connection("redis://...", transport="avtomatika.transport:Transport")``.

Knows nothing of blueprints; any kombu program may use it.
"""

from .channel import Channel
from .client import connect
from .envelope import ON_DEAD_HEADER, Outgoing
from .errors import CallbackFailed, MessageTooLarge, NoRoute, is_passing
from .keys import Keys
from .routing import Route, Router
from .server import Server
from .survey import Held, Letter, QueueFigures, Survey, Waits
from .topology import Topology
from .transport import Transport

__all__ = [
    "ON_DEAD_HEADER",
    "CallbackFailed",
    "Channel",
    "Held",
    "Keys",
    "Letter",
    "MessageTooLarge",
    "NoRoute",
    "Outgoing",
    "QueueFigures",
    "Route",
    "Router",
    "Server",
    "Survey",
    "Topology",
    "Transport",
    "Waits",
    "connect",
    "is_passing",
]
