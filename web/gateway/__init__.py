"""Workers over HTTP: ``/_worker/...``, as the SDK of the public project speaks it."""

from .gateway import Gateway
from .routes import GATEWAY_ROUTES, register_gateway
from .task_polls import Polls
from .worker_queues import WorkerQueues

__all__ = ["GATEWAY_ROUTES", "Gateway", "Polls", "WorkerQueues", "register_gateway"]
