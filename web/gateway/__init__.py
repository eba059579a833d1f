"""Workers over HTTP: ``/_worker/...``, as the SDK of the public project speaks it."""

from .gateway import Gateway
from .own_queues import OwnQueues
from .polls import Polls
from .routes import GATEWAY_ROUTES, register_gateway

__all__ = ["GATEWAY_ROUTES", "Gateway", "OwnQueues", "Polls", "register_gateway"]
