"""The environment that the processes of one ``var/`` folder share."""

from __future__ import annotations

import os
from collections.abc import Mapping

from avtomatika.settings import Settings

from .embedded import running_server
from .var_folder import secret


def join_local() -> Settings:
    """The settings; without REDIS_URL this process joins the server that runs here, and what stands on it.

    UnavailableError, with the line to type, where none runs.
    """
    settings = Settings.from_environment()
    if settings.redis_url is None:
        os.environ.update(completed(local_defaults(running_server(), settings)))
        settings = Settings.from_environment()
    return settings


def local_defaults(redis_url: str, settings: Settings) -> dict[str, str]:
    """The variables by which processes of this folder find the server and trust each other."""
    defaults = {
        "REDIS_URL": redis_url,
        "SECRET_KEY": secret("secret_key"),
        "LOCAL_WORKER_TOKEN": secret("worker_token"),  # counts once there is a workers.toml
    }
    if not settings.clients_config_path.is_file():
        defaults["CLIENT_TOKEN"] = secret("client_token")
    return defaults


def completed(defaults: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process, with *defaults* where it says nothing."""
    missing = {name: value for name, value in defaults.items() if not os.environ.get(name, "").strip()}
    return {**os.environ, **missing}
