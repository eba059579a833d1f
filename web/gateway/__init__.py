"""The gateway for workers over HTTP: ``/_worker/...``, the protocol of the public project's SDK."""

from .authentication import Authentication
from .gateway import Gateway, WorkerQueues
from .routes import GATEWAY_ROUTES, register_gateway
from .task_polls import Polls
