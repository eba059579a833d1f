"""The supported ``transport_options``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Self

from .connection.connect import CONNECT_TIMEOUT_SECONDS, HEALTH_CHECK_SECONDS
from .connection.pool import MAX_CONNECTIONS, SOCKET_TIMEOUT_SECONDS
from .keys import PREFIX

#: Lease of a delivered message, and deliveries after which it is dead-lettered.
LEASE_SECONDS, MAX_DELIVERIES = 30.0, 5
#: Maximum number of dead letters per queue, and how long they are kept.
MAX_DEAD_LETTERS, DEAD_LETTER_SECONDS = 1000, 30 * 24 * 3600

_WHOLE = ("spread", "max_connections", "max_deliveries", "max_dead_letters", "max_message_bytes", "fanout_length")
_NUMBERS = (
    "lease_seconds",
    "dead_letter_seconds",
    "visibility_timeout",
    "sweep_interval_seconds",
    "priority_aging_seconds",
    "socket_timeout",
    "socket_connect_timeout",
    *_WHOLE,
)


@dataclass(frozen=True, slots=True)
class Options:
    """Uses kombu's names where kombu has the option; None selects the default. Raises ValueError for invalid
    values."""

    global_keyprefix: str = PREFIX
    #: The prefixes of several shards, the home shard first; empty for one shard with the prefix above.
    prefixes: tuple[str, ...] = ()
    #: Number of slots of a cluster over which the queues are spread, each in one by its name.
    spread: int = 1
    #: A message whose lease is not renewed for this long is redelivered to another consumer.
    lease_seconds: float = LEASE_SECONDS
    #: The same for a consumer whose process is connected but blocked.
    visibility_timeout: float = 3600
    #: A message delivered this often without being acknowledged is dead-lettered.
    max_deliveries: int = MAX_DELIVERIES
    #: Dead letters of a queue beyond this number or age are deleted, oldest first.
    max_dead_letters: int = MAX_DEAD_LETTERS
    dead_letter_seconds: float = DEAD_LETTER_SECONDS
    sweep_interval_seconds: float = 5
    #: In a queue in turns, a message that has waited for longer is taken before a new one with a priority one higher.
    priority_aging_seconds: float = 60
    socket_timeout: float = SOCKET_TIMEOUT_SECONDS
    socket_connect_timeout: float = CONNECT_TIMEOUT_SECONDS
    health_check_interval: float = HEALTH_CHECK_SECONDS
    socket_keepalive_options: Mapping[int, int] | None = None
    client_name: str | None = None
    #: Maximum number of connections to the server, or to each node of a cluster, not counting those that wait for
    #: messages in an event loop or on a cluster, and the one that renews leases.
    max_connections: int = MAX_CONNECTIONS
    #: A :class:`.redis_client.RedisClient` to use in place of a new one; closing the transport leaves it open.
    server: Any = None
    max_message_bytes: int = 4 * 1024 * 1024
    #: Number of messages of a fanout exchange that are kept for slow queues.
    fanout_length: int = 1000
    #: Must be unique among all channels on the server; None generates a name per channel.
    consumer_name: str | None = None
    #: For ``sentinel://``: the primary's name, unless the URL has it, and connection options for the sentinels.
    master_name: str | None = None
    sentinel_kwargs: Mapping[str, Any] | None = None
    #: True if closing a channel requeues delivered messages that are not acknowledged.
    requeue_on_close: bool = True

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
                raise ValueError(f"transport option {name} must be a number above 0, not {value!r}")
            if name in _WHOLE and value != int(value):
                raise ValueError(f"transport option {name} must be a whole number, not {value!r}")
        interval = self.health_check_interval
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 <= interval < inf:
            raise ValueError(f"transport option health_check_interval must be a number from 0 on, not {interval!r}")
        if not isinstance(self.global_keyprefix, str):
            raise ValueError(f"transport option global_keyprefix must be text, not {self.global_keyprefix!r}")
        if self.spread > 1 and not re.fullmatch(r"\{[^{}]+\}:", self.global_keyprefix):
            raise ValueError(f"with spread global_keyprefix must be as in {{avt.g0}}:, not {self.global_keyprefix!r}")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Select our options from *given*, which may include options of kombu or other transports."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in known and value is not None})

    @property
    def connection(self) -> dict[str, Any]:
        """Options that are passed on to redis-py for each connection."""
        settings: dict[str, Any] = {
            "health_check_interval": self.health_check_interval,
            "master_name": self.master_name,
            "sentinel_kwargs": self.sentinel_kwargs,
        }
        if self.socket_keepalive_options is not None:
            settings["socket_keepalive_options"] = self.socket_keepalive_options
        if self.client_name is not None:
            settings["client_name"] = self.client_name
        return settings

    @property
    def all_prefixes(self) -> tuple[str, ...]:
        """The prefixes of keys, one of each shard."""
        others = (f"{self.global_keyprefix[:-2]}_{place}}}:" for place in range(1, self.spread))
        return self.prefixes or (self.global_keyprefix, *others)
