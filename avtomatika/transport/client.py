"""Connections to the server, with time limits on everything."""

from __future__ import annotations

import ssl
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SOCKET_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 30


def connect(url: str, **options: Any) -> Redis:
    """A client of the server at *url* (``redis://``, ``rediss://``, ``unix://``).

    ``rediss`` checks certificate and host name; ``?ssl_cert_reqs=none`` in the URL turns that off for hosts with
    certificates of their own making. Nothing is tried twice unseen: whoever calls knows whether that is harmless.
    *options* are redis-py's.
    """
    settings: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if not url.startswith("unix:"):
        settings["socket_keepalive"] = True
    if url.startswith("rediss:"):
        settings |= {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": "ssl_cert_reqs=none" not in url}
    return Redis.from_url(url, **(settings | options))
