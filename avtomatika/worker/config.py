"""What a worker is told by its environment, as one frozen value. Only ``run.py`` reads it."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from avtomatika.core.job import Json
from avtomatika.core.names import is_name
from avtomatika.errors import SettingsError
from avtomatika.files.cache import CACHE_BYTES
from avtomatika.files.config import S3Config
from avtomatika.files.task_storage import MAX_TASK_BYTES

from .resources import parsed_costs, parsed_resources

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """``worker_id`` is made up where none was given."""

    worker_id: str
    token: str | None = field(default=None, repr=False)
    addresses: tuple[Address, ...] = (Address(_DEFAULT_URL),)
    mode: Mode = Mode.FAILOVER
    concurrency: int = 4
    pool: str = "process"
    time_limit_seconds: float | None = None
    kill_after_seconds: float = 10.0
    max_tasks: int | None = None
    max_memory_mb: int | None = None
    drain_timeout_seconds: float = 25.0
    lease_seconds: float = 30.0
    max_deliveries: int = 5
    max_dead_letters: int = 1000
    dead_letter_ttl_seconds: int = 2_592_000
    s3: S3Config | None = None
    payload_dir: str | None = None
    spool_dir: str = "var/spool"
    health_port: int | None = None
    cache_dir: str = "var/cache"
    cache_bytes: int = CACHE_BYTES
    max_task_bytes: int = MAX_TASK_BYTES
    resources: Mapping[str, Json] | None = None
    costs: Mapping[str, float] | None = None

    @property
    def delivery(self) -> dict[str, Any]:
        """The limits of delivery, as ``broker.connect`` takes them."""
        return {
            "lease_seconds": self.lease_seconds,
            "max_deliveries": self.max_deliveries,
            "max_dead_letters": self.max_dead_letters,
            "dead_letter_seconds": self.dead_letter_ttl_seconds,
        }

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> WorkerConfig:
        """Read *environ*, where blank means not set; raises SettingsError naming the variable and its value."""
        values = _Values(environ)
        return cls(
            worker_id=values.get("WORKER_ID", _worker_id) or _made_up_id(),
            token=next(filter(None, map(values.text, _TOKEN_VARIABLES)), None),
            addresses=_addresses(values),
            mode=values.get("MULTI_ORCHESTRATOR_MODE", _mode) or Mode.FAILOVER,
            concurrency=values.get("WORKER_CONCURRENCY", _at_least_one) or 4 * (os.cpu_count() or 1),
            pool=values.get("WORKER_POOL", _pool) or "process",
            time_limit_seconds=values.get("WORKER_TIME_LIMIT", _positive),
            kill_after_seconds=_or(10.0, values.get("WORKER_KILL_AFTER", _not_negative)),
            max_tasks=values.get("WORKER_MAX_TASKS", _at_least_one),
            max_memory_mb=values.get("WORKER_MAX_MEMORY_MB", _at_least_one),
            drain_timeout_seconds=_or(25.0, values.get("WORKER_DRAIN_TIMEOUT", _not_negative)),
            lease_seconds=values.get("WORKER_LEASE_SECONDS", _positive) or 30.0,
            max_deliveries=values.get("MAX_DELIVERIES", _at_least_one) or 5,
            max_dead_letters=values.get("MAX_DEAD_LETTERS", _at_least_one) or 1000,
            dead_letter_ttl_seconds=values.get("DEAD_LETTER_TTL_SECONDS", _at_least_one) or 2_592_000,
            s3=S3Config.from_environment(environ),
            health_port=values.get("WORKER_HEALTH_PORT", _port),
            spool_dir=values.text("WORKER_SPOOL_DIR") or "var/spool",
            cache_dir=values.text("WORKER_CACHE_DIR") or "var/cache",
            cache_bytes=_or(CACHE_BYTES, values.get("WORKER_CACHE_BYTES", _whole)),
            payload_dir=values.text("WORKER_PAYLOAD_DIR"),
            max_task_bytes=values.get("WORKER_MAX_TASK_BYTES", _at_least_one) or MAX_TASK_BYTES,
            resources=values.get("WORKER_RESOURCES", parsed_resources),
            costs=values.get("WORKER_COSTS", parsed_costs),
        )


@dataclass(frozen=True, slots=True)
class _Values:
    environ: Mapping[str, str] = field(repr=False)

    def text(self, name: str) -> str | None:
        return self.environ.get(name, "").strip() or None

    def get(self, name: str, parse: Callable[[str], T]) -> T | None:
        """What *parse* makes of a variable, or None where it is not set; *parse* raises ValueError with the reason."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsError(f"{name}={_without_passwords(text)!r}: {error}") from None


def _addresses(values: _Values) -> tuple[Address, ...]:
    """The list if there is one, else one address, else the server's own broker, else a local web process."""
    listed = values.get("ORCHESTRATORS_CONFIG", _address_list)
    if listed is not None:
        return listed
    one = values.get("ORCHESTRATOR_URL", _address) or values.get("REDIS_URL", _address)
    return (one or Address(_DEFAULT_URL),)


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


def _made_up_id() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:50]
    return f"{host or 'worker'}-{secrets.token_hex(4)}"


def _mode(text: str) -> Mode:
    try:
        return Mode(text.upper())
    except ValueError:
        raise ValueError(f"must be {' or '.join(Mode)}") from None


def _pool(text: str) -> str:
    if text not in ("thread", "process"):
        raise ValueError("must be thread or process")
    return text


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("must be a whole number from 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise ValueError("must be a port, a whole number up to 65535")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("must be a whole number from 0")
    return int(text)


def _not_negative(text: str) -> float:
    number = _number(text)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if number <= 0:
        raise ValueError("must be above 0")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not isfinite(number):
        raise ValueError("must be a number of seconds")
    return number


def _or(default: T, value: T | None) -> T:
    return default if value is None else value


def _without_passwords(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//***@", text)
