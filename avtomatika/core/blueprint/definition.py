"""``Definition``: a blueprint as the compiler reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.core.retry import RetryPolicy

from .handler import Handler


@dataclass(frozen=True, slots=True)
class Definition:
    """The options of a blueprint and its ``handlers`` by state, each state's in the order in which they are tried."""

    name: str
    handlers: Mapping[str, tuple[Handler, ...]]
    api_version: str = "v1"
    api_endpoint: str | None = None
    execution_timeout_seconds: float | None = None
    retry: RetryPolicy | None = None
    max_transitions: int | None = None
    input: Any = None
    output: Any = None

    def is_aggregator(self, state: str) -> bool:
        """Return True if *state* joins parallel tasks."""
        return any(handler.is_aggregator for handler in self.handlers.get(state, ()))
