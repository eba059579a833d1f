"""Settings of a worker, read from the environment as one frozen value. Only ``run.py`` reads them."""

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from avtomatika import environment
from avtomatika.addresses import Address, Mode, parse_address, parse_addresses
from avtomatika.core.file_reference import LARGEST_INLINE_BYTES, MAX_INLINE_BYTES
from avtomatika.core.job import Json
from avtomatika.core.names import group_name, is_name
from avtomatika.core.shards import MAX_SHARDS
from avtomatika.environment import choice, integer, number, parsed, positive, secret, text, variable
from avtomatika.files.cache import CACHE_BYTES
from avtomatika.files.config import S3Config
from avtomatika.files.task_storage import MAX_TASK_BYTES

from .resources import checked_costs, checked_json, checked_resources
from .spool import RESULT_TTL_SECONDS

#: Levels of log records of skills that go to the streams of their jobs.
LOG_CAPTURE_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF")
_DEFAULT_URL = "http://localhost:8080"
#: The worker's own token, the one that all share, and the one of the `avtomatika up` of this folder.
_TOKEN_VARIABLES = ("AVTOMATIKA_WORKER_TOKEN", "WORKER_TOKEN", "LOCAL_WORKER_TOKEN")


def _generated_id() -> str:
    """The host's name and a random part."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:50]
    return f"{host or 'worker'}-{secrets.token_hex(4)}"


def _worker_id(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be 1 to 64 letters, digits, '-' or '_'")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Settings of a worker, with their defaults."""

    worker_id: str = variable(parsed, "WORKER_ID", _generated_id, parse=_worker_id)
    token: str | None = field(default=None, repr=False)
    group: str = variable(parsed, "AVTOMATIKA_GROUP", "g0", parse=group_name)
    shards: int = variable(integer, "AVTOMATIKA_SHARDS", 1, minimum=1, maximum=MAX_SHARDS)
    addresses: tuple[Address, ...] = (Address(_DEFAULT_URL),)
    mode: Mode = variable(choice, "MULTI_ORCHESTRATOR_MODE", Mode.FAILOVER, words=list(Mode))
    concurrency: int = variable(integer, "WORKER_CONCURRENCY", lambda: 4 * (os.cpu_count() or 1), minimum=1)
    pool: str = variable(choice, "WORKER_POOL", "process", words=("thread", "process"))
    time_limit_seconds: float | None = variable(positive, "WORKER_TIME_LIMIT")
    kill_after_seconds: float = variable(number, "WORKER_KILL_AFTER", 10.0)
    max_tasks: int | None = variable(integer, "WORKER_MAX_TASKS", minimum=1)
    max_memory_mb: int | None = variable(integer, "WORKER_MAX_MEMORY_MB", minimum=1)
    drain_timeout_seconds: float = variable(number, "WORKER_DRAIN_TIMEOUT", 25.0)
    log_capture_level: str = variable(choice, "WORKER_LOG_CAPTURE_LEVEL", "INFO", words=LOG_CAPTURE_LEVELS)
    #: Limits of delivery that are set, as ``broker.connect`` takes them; it has the defaults.
    delivery: Mapping[str, Any] = field(default_factory=dict)
    s3: S3Config | None = None
    payload_dir: str | None = variable(text, "WORKER_PAYLOAD_DIR")
    spool_dir: str = variable(text, "WORKER_SPOOL_DIR", "var/spool")
    max_inline_bytes: int = variable(
        integer, "MAX_INLINE_BYTES", MAX_INLINE_BYTES, minimum=1024, maximum=LARGEST_INLINE_BYTES
    )
    result_ttl_seconds: int = variable(integer, "WORKER_RESULT_TTL_SECONDS", RESULT_TTL_SECONDS)
    health_port: int | None = variable(integer, "WORKER_HEALTH_PORT", maximum=65_535)
    metrics_token: str | None = variable(secret, "METRICS_TOKEN")
    metrics_port: int | None = variable(integer, "METRICS_PORT", minimum=1, maximum=65_535)
    metrics_host: str = variable(text, "METRICS_HOST", "127.0.0.1")
    cache_dir: str = variable(text, "WORKER_CACHE_DIR", "var/cache")
    cache_bytes: int = variable(integer, "WORKER_CACHE_BYTES", CACHE_BYTES)
    max_task_bytes: int = variable(integer, "WORKER_MAX_TASK_BYTES", MAX_TASK_BYTES, minimum=1)
    resources: Mapping[str, Json] | None = variable(
        parsed, "WORKER_RESOURCES", parse=partial(checked_json, checked_resources)
    )
    costs: Mapping[str, float] | None = variable(parsed, "WORKER_COSTS", parse=partial(checked_json, checked_costs))

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; raises SettingsError with the variable and the value that does not fit."""
        others = {
            "token": next(filter(None, map(text, _TOKEN_VARIABLES)), None),
            "addresses": _addresses(),
            "delivery": environment.delivery_limits(),
            "s3": S3Config.from_environment(),
        }
        return cls(**environment.given(others), **environment.variables_of(cls))


def _addresses() -> tuple[Address, ...] | None:
    """The list if there is one, else the one address, else the server's own broker."""
    listed = environment.parsed("ORCHESTRATORS_CONFIG", _worker_addresses)
    if listed is not None:
        return listed
    one = environment.parsed("ORCHESTRATOR_URL", parse_address) or environment.parsed("REDIS_URL", parse_address)
    return None if one is None else (one,)


def _worker_addresses(text: str) -> tuple[Address, ...]:
    addresses = parse_addresses(text)
    if any(address.token is not None for address in addresses):
        raise ValueError('a "token" in an entry is for clients; a worker has one token: set AVTOMATIKA_WORKER_TOKEN')
    return addresses
