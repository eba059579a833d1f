"""Settings of a worker, read from the environment as one frozen value. Only ``run.py`` reads them."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from avtomatika import environment
from avtomatika.core.file_reference import LARGEST_INLINE_BYTES, MAX_INLINE_BYTES
from avtomatika.core.job import Json
from avtomatika.core.names import is_name
from avtomatika.files.cache import CACHE_BYTES
from avtomatika.files.config import S3Config
from avtomatika.files.task_storage import MAX_TASK_BYTES

from .resources import parsed_costs, parsed_resources
from .spool import RESULT_TTL_SECONDS

#: What an address may begin with: a web address, or the broker itself.
WEB_SCHEMES = ("http", "https")
SCHEMES = (*WEB_SCHEMES, "redis", "rediss", "unix", "sentinel", "amqp", "amqps")
_DEFAULT_URL = "http://localhost:8080"
#: The worker's own token, the one that all share, and the one of the `avtomatika up` of this folder.
_TOKEN_VARIABLES = ("AVTOMATIKA_WORKER_TOKEN", "WORKER_TOKEN", "LOCAL_WORKER_TOKEN")


class Mode(StrEnum):
    FAILOVER = "FAILOVER"  # the first healthy address of the list
    ROUND_ROBIN = "ROUND_ROBIN"  # all of them in turn


@dataclass(frozen=True, slots=True)
class Address:
    """Where tasks come from; the URL may hold a password and is not in the repr."""

    url: str = field(repr=False)
    weight: int = 1

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def is_web(self) -> bool:
        """Whether it is a web address, and not the broker itself."""
        return self.scheme in WEB_SCHEMES

    def __str__(self) -> str:
        """The URL without users and passwords; of sentinels there may be several."""
        parts = urlsplit(self.url)
        hosts = ",".join(host.rpartition("@")[2] for host in re.split("[,;]", parts.netloc))
        return parts._replace(netloc=hosts, query="").geturl()


def _generated_id() -> str:
    """The host's name and a random part."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:50]
    return f"{host or 'worker'}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Settings of a worker, with their defaults."""

    worker_id: str = field(default_factory=_generated_id)
    token: str | None = field(default=None, repr=False)
    addresses: tuple[Address, ...] = (Address(_DEFAULT_URL),)
    mode: Mode = Mode.FAILOVER
    concurrency: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    pool: str = "process"
    time_limit_seconds: float | None = None
    kill_after_seconds: float = 10.0
    max_tasks: int | None = None
    max_memory_mb: int | None = None
    drain_timeout_seconds: float = 25.0
    #: Limits of delivery that are set, as ``broker.connect`` takes them; it has the defaults.
    delivery: Mapping[str, Any] = field(default_factory=dict)
    s3: S3Config | None = None
    payload_dir: str | None = None
    spool_dir: str = "var/spool"
    max_inline_bytes: int = MAX_INLINE_BYTES
    result_ttl_seconds: int = RESULT_TTL_SECONDS
    health_port: int | None = None
    cache_dir: str = "var/cache"
    cache_bytes: int = CACHE_BYTES
    max_task_bytes: int = MAX_TASK_BYTES
    resources: Mapping[str, Json] | None = None
    costs: Mapping[str, float] | None = None

    @classmethod
    def from_environment(cls) -> WorkerConfig:
        """Read the environment; raises SettingsError with the variable and the value that does not fit."""
        return cls(
            **environment.given(
                {
                    "worker_id": environment.parsed("WORKER_ID", _worker_id),
                    "token": next(filter(None, map(environment.text, _TOKEN_VARIABLES)), None),
                    "addresses": _addresses(),
                    "mode": environment.choice("MULTI_ORCHESTRATOR_MODE", list(Mode)),
                    "concurrency": environment.integer("WORKER_CONCURRENCY", minimum=1),
                    "pool": environment.choice("WORKER_POOL", ("thread", "process")),
                    "time_limit_seconds": environment.positive("WORKER_TIME_LIMIT"),
                    "kill_after_seconds": environment.number("WORKER_KILL_AFTER"),
                    "max_tasks": environment.integer("WORKER_MAX_TASKS", minimum=1),
                    "max_memory_mb": environment.integer("WORKER_MAX_MEMORY_MB", minimum=1),
                    "drain_timeout_seconds": environment.number("WORKER_DRAIN_TIMEOUT"),
                    "delivery": environment.delivery_limits(),
                    "s3": S3Config.from_environment(),
                    "health_port": environment.integer("WORKER_HEALTH_PORT", maximum=65_535),
                    "spool_dir": environment.text("WORKER_SPOOL_DIR"),
                    "max_inline_bytes": environment.integer(
                        "MAX_INLINE_BYTES", minimum=1024, maximum=LARGEST_INLINE_BYTES
                    ),
                    "result_ttl_seconds": environment.integer("WORKER_RESULT_TTL_SECONDS"),
                    "cache_dir": environment.text("WORKER_CACHE_DIR"),
                    "cache_bytes": environment.integer("WORKER_CACHE_BYTES"),
                    "payload_dir": environment.text("WORKER_PAYLOAD_DIR"),
                    "max_task_bytes": environment.integer("WORKER_MAX_TASK_BYTES", minimum=1),
                    "resources": environment.parsed("WORKER_RESOURCES", parsed_resources),
                    "costs": environment.parsed("WORKER_COSTS", parsed_costs),
                }
            )
        )


def _addresses() -> tuple[Address, ...] | None:
    """The list if there is one, else the one address, else the server's own broker."""
    listed = environment.parsed("ORCHESTRATORS_CONFIG", _address_list)
    if listed is not None:
        return listed
    one = environment.parsed("ORCHESTRATOR_URL", _address) or environment.parsed("REDIS_URL", _address)
    return None if one is None else (one,)


def _address_list(text: str) -> tuple[Address, ...]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError('must be a list with at least one entry, as in [{"url": "redis://localhost:6379"}]')
    return tuple(_entry(entry) for entry in entries)


def _entry(entry: Any) -> Address:
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise ValueError('every entry must be an object with a text "url"')
    unknown = sorted(entry.keys() - {"url", "weight"})
    if unknown:
        raise ValueError(f'an entry has "url" and "weight", but no {unknown[0]!r}')
    weight = entry.get("weight", 1)
    if type(weight) is not int or weight < 1:
        raise ValueError(f'"weight" must be a whole number from 1, not {weight!r}')
    return Address(_address(entry["url"]).url, weight)


def _address(text: str) -> Address:
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the scheme of a URL must be one of {', '.join(SCHEMES)}, not {parts.scheme!r}")
    if not parts.hostname and parts.scheme != "unix":
        raise ValueError("a URL must name a host")
    if parts.scheme == "sentinel" and not parse_qs(parts.query).get("master_name"):
        raise ValueError("a sentinel:// URL must name the primary, as in sentinel://host:26379/0?master_name=mymaster")
    return Address(text)


def _worker_id(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be 1 to 64 letters, digits, '-' or '_'")
    return text
