"""The environment shared by the processes of one ``var/`` folder."""

import os
from collections.abc import Mapping

from avtomatika.local_installation import VAR
from avtomatika.settings import Settings

from .embedded import CLUSTER, running_server
from .var_folder import secret

#: Shards of an embedded cluster, and the file with the number that its ``up`` used last.
_SHARDS, SHARDS_FILE = "6", VAR / CLUSTER / "shards"


def join_local() -> Settings:
    """Return the settings; without REDIS_URL, use the running embedded server and its secrets.

    UnavailableError, names the command that starts one if none runs.
    """
    settings = Settings.from_environment()
    if settings.redis_url is None:
        os.environ.update(completed(local_defaults(running_server(), settings)))
        settings = Settings.from_environment()
    return settings


def local_defaults(redis_url: str, settings: Settings) -> dict[str, str]:
    """Return the variables with which processes of this folder find the server and authenticate each other."""
    defaults = {
        "REDIS_URL": redis_url,
        "SECRET_KEY": secret("secret_key"),
        "LOCAL_WORKER_TOKEN": secret("worker_token"),  # used if workers.toml exists
    }
    if not settings.clients_config_path.is_file():
        defaults["CLIENT_TOKEN"] = secret("client_token")
    if redis_url.startswith("redis+cluster:"):
        defaults["AVTOMATIKA_SHARDS"] = SHARDS_FILE.read_text() if SHARDS_FILE.exists() else _SHARDS
    return defaults


def completed(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with *defaults* for unset variables."""
    missing = {name: value for name, value in defaults.items() if not os.environ.get(name, "").strip()}
    return {**os.environ, **missing}
