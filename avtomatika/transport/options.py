"""What ``transport_options`` may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .client import CONNECT_TIMEOUT_SECONDS, SOCKET_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Options:
    """Names are kombu's where it has one."""

    global_keyprefix: str = "avt:"
    #: A message whose holder does not renew it so long is another's.
    lease_seconds: float = 30
    #: After so many deliveries without an end a message is buried.
    max_deliveries: int = 5
    sweep_interval_seconds: float = 5
    socket_timeout: float = SOCKET_TIMEOUT_SECONDS
    socket_connect_timeout: float = CONNECT_TIMEOUT_SECONDS
    max_message_bytes: int = 4 * 1024 * 1024
    #: How many messages of a fanout exchange are kept for those that lag behind.
    fanout_length: int = 1000
    #: Only for one channel at a time on the whole server; None makes a new name for each.
    consumer_name: str | None = None
    #: For ``sentinel://``: the primary's name there, unless the URL tells, and how to connect to the sentinels.
    master_name: str | None = None
    sentinel_kwargs: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Ours among *given*; others are for kombu, or for other transports."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in known})

    @property
    def prefix(self) -> str:
        return self.global_keyprefix
