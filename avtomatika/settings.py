"""The environment as one frozen value.

Only the composition roots read it; everybody else is handed what it works with.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from environs import Env, EnvError, ValidationError, validate

from avtomatika.core.names import is_name
from avtomatika.core.signing import GroupSecret, webhook_key

from .errors import SettingsError

#: What the store and the transport can stand on.
_REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server's processes are told. A variable that is set but blank counts as not set.

    What may hold a secret (URLs carry passwords) is not in the repr. Paths are as given: relative to the working
    directory.
    """

    redis_url: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    secret_key_previous: str | None = field(default=None, repr=False)
    group: str = "g0"
    client_token: str | None = field(default=None, repr=False)
    client_token_previous: str | None = field(default=None, repr=False)
    clients_config_path: Path = Path("clients.toml")
    worker_token: str | None = field(default=None, repr=False)
    worker_token_previous: str | None = field(default=None, repr=False)
    worker_token_min_length: int = 16
    local_worker_token: str | None = field(default=None, repr=False)
    workers_config_path: Path = Path("workers.toml")
    blueprints: str = "blueprints/"
    port: int = 8080
    job_ttl_seconds: int = 604_800
    trusted_proxies: int = 0
    redis_max_connections: int = 6
    web_max_waiting: int = 4000
    web_client_share: float = 0.5
    job_max_retries: int = 3
    max_job_bytes: int = 8 * 1024 * 1024
    max_transitions_per_job: int = 100
    handler_timeout_seconds: float = 30.0
    worker_lease_seconds: float = 30.0
    max_deliveries: int = 5
    max_dead_letters: int = 1000
    dead_letter_ttl_seconds: int = 2_592_000
    plan_takeover_seconds: float = 60.0
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_allow: tuple[str, ...] = ()
    metrics_token: str | None = field(default=None, repr=False)
    log_format: str | None = None  # None: text on a terminal, else json
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls) -> Settings:
        """Read ``os.environ``; a value that does not fit is a SettingsError naming the variable and the value."""
        env = Env()
        found: dict[str, Any] = {
            "redis_url": _secret(env, "REDIS_URL", check=_redis_url),
            "secret_key": _secret(env, "SECRET_KEY"),
            "secret_key_previous": _secret(env, "SECRET_KEY_PREVIOUS"),
            "group": _value(env.str, "AVTOMATIKA_GROUP", check=_group),
            "client_token": _secret(env, "CLIENT_TOKEN"),
            "client_token_previous": _secret(env, "CLIENT_TOKEN_PREVIOUS"),
            "clients_config_path": _config_file(env, "CLIENTS_CONFIG_PATH"),
            "worker_token": _secret(env, "WORKER_TOKEN"),
            "worker_token_previous": _secret(env, "WORKER_TOKEN_PREVIOUS"),
            "worker_token_min_length": _value(env.int, "WORKER_TOKEN_MIN_LENGTH", check=_at_least_one),
            "local_worker_token": _secret(env, "LOCAL_WORKER_TOKEN"),
            "workers_config_path": _config_file(env, "WORKERS_CONFIG_PATH"),
            "blueprints": _value(env.str, "BLUEPRINTS"),
            "port": _value(env.int, "API_PORT", check=_port) or _value(env.int, "PORT", check=_port),
            "job_ttl_seconds": _value(env.int, "JOB_TTL_SECONDS", check=_at_least_one),
            "trusted_proxies": _value(env.int, "TRUSTED_PROXIES", check=_not_negative),
            "redis_max_connections": _value(env.int, "REDIS_MAX_CONNECTIONS", check=_enough_connections),
            "web_max_waiting": _value(env.int, "WEB_MAX_WAITING", check=_at_least_one),
            "web_client_share": _value(env.float, "WEB_CLIENT_SHARE", check=_share),
            "job_max_retries": _value(env.int, "JOB_MAX_RETRIES", check=_not_negative),
            "max_job_bytes": _value(env.int, "MAX_JOB_BYTES", check=_at_least_one),
            "max_transitions_per_job": _value(env.int, "MAX_TRANSITIONS_PER_JOB", check=_at_least_one),
            "handler_timeout_seconds": _value(env.float, "HANDLER_TIMEOUT", check=_positive),
            "worker_lease_seconds": _value(env.float, "WORKER_LEASE_SECONDS", check=_positive),
            "max_deliveries": _value(env.int, "MAX_DELIVERIES", check=_at_least_one),
            "max_dead_letters": _value(env.int, "MAX_DEAD_LETTERS", check=_at_least_one),
            "dead_letter_ttl_seconds": _value(env.int, "DEAD_LETTER_TTL_SECONDS", check=_at_least_one),
            "plan_takeover_seconds": _value(env.float, "PLAN_TAKEOVER_SECONDS", check=_positive),
            "webhook_secret": _secret(env, "WEBHOOK_SECRET", check=_webhook_secret),
            "webhook_allow": _words(_value(env.str, "WEBHOOK_ALLOW", check=_networks)),
            "metrics_token": _secret(env, "METRICS_TOKEN"),
            "log_format": _value(env.str, "LOG_FORMAT", check=validate.OneOf(("json", "text"))),
            "log_level": _log_level(env),
        }
        return cls(**{name: value for name, value in found.items() if value is not None})

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
    def delivery(self) -> dict[str, Any]:
        """The limits of delivery, as ``broker.connect`` takes them."""
        return {
            "lease_seconds": self.worker_lease_seconds,
            "max_deliveries": self.max_deliveries,
            "max_dead_letters": self.max_dead_letters,
            "dead_letter_seconds": self.dead_letter_ttl_seconds,
        }

    @property
    def group_secret(self) -> GroupSecret | None:
        """What our processes sign with, where SECRET_KEY is set."""
        return None if self.secret_key is None else GroupSecret(self.secret_key, self.secret_key_previous)


_port = validate.Range(min=1, max=65_535)
_at_least_one = validate.Range(min=1)
_enough_connections = validate.Range(min=3)
_share = validate.Range(min=0, min_inclusive=False, max=1)
_not_negative = validate.Range(min=0)
_positive = validate.Range(min=0, min_inclusive=False)


def _value(
    parse: Callable[..., Any],
    name: str,
    *,
    check: Callable[[Any], object] | None = None,
    is_secret: bool = False,
) -> Any:
    raw = os.environ.get(name, "")
    if not raw.strip():
        return None
    try:
        return parse(name, validate=check)
    except EnvError as error:
        shown = name if is_secret else f"{name}={raw!r}"
        raise SettingsError(f"{shown}: {_reason(error)}") from None


def _secret(env: Env, name: str, *, check: Callable[[Any], object] | None = None) -> str | None:
    value = _value(env.str, name, check=check, is_secret=True)
    return None if value is None else str(value)


def _config_file(env: Env, name: str) -> Path | None:
    """The file that the variable *name* points to, which must exist; None if the variable is not set."""
    named = _value(env.path, name)
    if named is None:
        return None
    if not named.is_file():
        raise SettingsError(f"{name}={str(named)!r}: there is no such file in {Path.cwd()}")
    return Path(named)


def _log_level(env: Env) -> str | None:
    given = _value(env.str, "LOG_LEVEL")
    if given is None:
        return None
    if given.upper() not in _LOG_LEVELS:
        raise SettingsError(f"LOG_LEVEL={given!r}: must be one of {', '.join(_LOG_LEVELS)}")
    return str(given).upper()


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _networks(text: str) -> None:
    for word in _words(text) or ():
        try:
            ip_network(word, strict=False)
        except ValueError:
            raise ValidationError(f"{word!r} is no address or network, like 127.0.0.1 or 10.0.0.0/8") from None


def _webhook_secret(secret: str) -> None:
    try:
        webhook_key(secret)
    except ValueError:
        raise ValidationError("what follows whsec_ must be base64") from None


def _redis_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValidationError("not a URL") from None
    scheme = parts.scheme
    if scheme not in _REDIS_SCHEMES:
        raise ValidationError(f"its scheme is {scheme!r}, but must be one of {', '.join(_REDIS_SCHEMES)}")
    if scheme == "sentinel" and not parse_qs(parts.query).get("master_name"):
        raise ValidationError("it must name the primary, as in sentinel://host:26379/0?master_name=mymaster")


def _group(name: str) -> None:
    if not is_name(name):
        raise ValidationError("must be 1 to 64 letters, digits, '_' or '-'")


def _reason(error: EnvError) -> str:
    messages = getattr(error, "error_messages", None) or [str(error)]
    return " ".join(str(message) for message in messages)
