"""Settings of the server's processes, read from the environment as one frozen value.

Only composition roots read them; all other code takes the values that it needs as arguments.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from avtomatika import environment
from avtomatika.core.file_reference import LARGEST_INLINE_BYTES, MAX_INLINE_BYTES
from avtomatika.core.names import group_name
from avtomatika.core.rate_limit import RateLimit
from avtomatika.core.shards import MAX_SHARDS, shard_prefixes
from avtomatika.core.signing import GroupSecret, webhook_key
from avtomatika.environment import choice, integer, parsed, path, positive, secret, text, variable

#: Servers that the store and the transport support.
_REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _celery_tasks(text: str) -> dict[str, tuple[str, str]]:
    found = {}
    for word in text.split(","):
        match = re.fullmatch(r"\s*([\w-]+)=([^@\s]+)(?:@(\S+))?\s*", word)
        if match is None:
            raise ValueError(f"{word!r} is not of the form skill=task or skill=task@queue")
        found[match[1]] = (match[2], match[3] or "celery")
    return found


def _port(name: str) -> int | None:
    return environment.integer(name, minimum=1, maximum=65_535)


def _networks(text: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in found:
        try:
            ip_network(word, strict=False)
        except ValueError:
            raise ValueError(f"{word!r} is not an address or network, like 127.0.0.1 or 10.0.0.0/8") from None
    return found


def _check_webhook_secret(secret: str) -> None:
    try:
        webhook_key(secret)
    except ValueError:
        raise ValueError("the text after whsec_ must be base64") from None


def _check_notify_url(url: str) -> None:
    if re.match("https?://[^/]", url) is None:
        raise ValueError("it must be like https://host/path")


def _check_redis_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None
    scheme = parts.scheme
    if scheme not in _REDIS_SCHEMES:
        raise ValueError(f"its scheme is {scheme!r}, but must be one of {', '.join(_REDIS_SCHEMES)}")
    if scheme == "sentinel" and not parse_qs(parts.query).get("master_name"):
        raise ValueError("it must name the primary, as in sentinel://host:26379/0?master_name=mymaster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the server's processes, with their defaults.

    Values that may hold a secret (as URLs do) are not in the repr. Paths are relative to the working directory.
    """

    redis_url: str | None = variable(secret, "REDIS_URL", check=_check_redis_url)
    secret_key: str | None = variable(secret, "SECRET_KEY")
    secret_key_previous: str | None = variable(secret, "SECRET_KEY_PREVIOUS")
    group: str = variable(parsed, "AVTOMATIKA_GROUP", "g0", parse=group_name)
    shards: int = variable(integer, "AVTOMATIKA_SHARDS", 1, minimum=1, maximum=MAX_SHARDS)
    client_token: str | None = variable(secret, "CLIENT_TOKEN")
    client_token_previous: str | None = variable(secret, "CLIENT_TOKEN_PREVIOUS")
    clients_config_path: Path = variable(path, "CLIENTS_CONFIG_PATH", Path("clients.toml"), exists=Path.is_file)
    worker_token: str | None = variable(secret, "WORKER_TOKEN")
    worker_token_previous: str | None = variable(secret, "WORKER_TOKEN_PREVIOUS")
    worker_token_min_length: int = variable(integer, "WORKER_TOKEN_MIN_LENGTH", 16, minimum=1)
    local_worker_token: str | None = variable(secret, "LOCAL_WORKER_TOKEN")
    workers_config_path: Path = variable(path, "WORKERS_CONFIG_PATH", Path("workers.toml"), exists=Path.is_file)
    schedules_config: Path = variable(path, "SCHEDULES_CONFIG", Path("schedules.toml"), exists=Path.is_file)
    limits_config: Path = variable(path, "LIMITS_CONFIG", Path("limits.toml"), exists=Path.is_file)
    history_database_uri: str | None = variable(secret, "HISTORY_DATABASE_URI")
    history_retention_days: int | None = variable(integer, "HISTORY_RETENTION_DAYS", minimum=1)
    blueprints: str = variable(text, "BLUEPRINTS", "blueprints/")
    port: int = 8080
    job_ttl_seconds: int = variable(integer, "JOB_TTL_SECONDS", 604_800, minimum=1)
    trusted_proxies: int = variable(integer, "TRUSTED_PROXIES", 0)
    redis_max_connections: int = variable(integer, "REDIS_MAX_CONNECTIONS", 6, minimum=3)
    web_max_waiting: int = variable(integer, "WEB_MAX_WAITING", 4000, minimum=1)
    api_rate_limit: RateLimit | None = variable(parsed, "API_RATE_LIMIT", parse=RateLimit.parse)
    max_new_skills: int = variable(integer, "MAX_NEW_SKILLS", 1000, minimum=1)
    web_client_share: float = variable(positive, "WEB_CLIENT_SHARE", 0.5, maximum=1)
    job_max_retries: int = variable(integer, "JOB_MAX_RETRIES", 3)
    max_job_bytes: int = variable(integer, "MAX_JOB_BYTES", 8 * 1024 * 1024, minimum=1)
    max_inline_bytes: int = variable(
        integer, "MAX_INLINE_BYTES", MAX_INLINE_BYTES, minimum=1024, maximum=LARGEST_INLINE_BYTES
    )
    max_stream_bytes: int = variable(integer, "MAX_STREAM_BYTES", 1024 * 1024, minimum=1)
    max_transitions_per_job: int = variable(integer, "MAX_TRANSITIONS_PER_JOB", 100, minimum=1)
    handler_timeout_seconds: float = variable(positive, "HANDLER_TIMEOUT", 30.0)
    #: Limits of delivery that are set, as ``broker.connect`` takes them; it has the defaults.
    delivery: Mapping[str, Any] = field(default_factory=dict)
    plan_takeover_seconds: float = variable(positive, "PLAN_TAKEOVER_SECONDS", 60.0)
    webhook_secret: str | None = variable(secret, "WEBHOOK_SECRET", check=_check_webhook_secret)
    notify_webhook_url: str | None = variable(secret, "NOTIFY_WEBHOOK_URL", check=_check_notify_url)
    webhook_allow: tuple[str, ...] = variable(parsed, "WEBHOOK_ALLOW", (), parse=_networks)
    accept_kombu_tasks: str = variable(choice, "ACCEPT_KOMBU_TASKS", "true", words=("true", "false"))
    #: Skills that Celery workers have -> task and queue of Celery.
    celery_tasks: Mapping[str, tuple[str, str]] = variable(parsed, "CELERY_TASKS", dict, parse=_celery_tasks)
    metrics_token: str | None = variable(secret, "METRICS_TOKEN")
    metrics_port: int | None = variable(integer, "METRICS_PORT", minimum=1, maximum=65_535)
    metrics_host: str = variable(text, "METRICS_HOST", "127.0.0.1")
    #: None: text on a terminal, else json.
    log_format: str | None = variable(choice, "LOG_FORMAT", words=("json", "text"))
    log_level: str = variable(choice, "LOG_LEVEL", "INFO", words=_LOG_LEVELS)
    access_log: str = variable(choice, "ACCESS_LOG", "true", words=("true", "false"))

    @property
    def key_prefixes(self) -> tuple[str, ...]:
        """Prefixes of the keys of each shard."""
        return shard_prefixes(self.group, self.shards)

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; raises SettingsError with the variable and the value that does not fit."""
        others = {"port": _port("API_PORT") or _port("PORT"), "delivery": environment.delivery_limits()}
        return cls(**environment.given(others), **environment.variables_of(cls))

    @property
    def client_tokens(self) -> dict[str, Any]:
        """The arguments of ``tokens.Clients``."""
        return {
            "token": self.client_token,
            "previous_token": self.client_token_previous,
            "path": self.clients_config_path,
        }

    @property
    def worker_tokens(self) -> dict[str, Any]:
        """The arguments of ``tokens.Workers``."""
        return {
            "token": self.worker_token,
            "previous_token": self.worker_token_previous,
            "local_token": self.local_worker_token,
            "shortest_token": self.worker_token_min_length,
            "path": self.workers_config_path,
        }

    @property
    def group_secret(self) -> GroupSecret | None:
        """The secret that processes of the group sign with, if SECRET_KEY is set."""
        return None if self.secret_key is None else GroupSecret(self.secret_key, self.secret_key_previous)
