"""Connections to the server, with time limits on everything."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry

from .sentinel import connect_by_sentinel

SOCKET_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 30
#: Read from a socket at once: a batch is up to half a mebibyte.
READ_BYTES = 256 * 1024
#: Memory for answers that a connection keeps.
KEPT_BYTES = 1024 * 1024


class KeepingParser(DefaultParser):  # type: ignore[misc,valid-type] # redis-py does not say which it is
    """Keeps the memory that answers were read into: given back after each batch, it comes again page by page."""

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        super().on_connect(connection, **kwargs)
        self._reader.setmaxbuf(KEPT_BYTES)


def connect(
    url: str, *, master_name: str | None = None, sentinel_kwargs: Mapping[str, Any] | None = None, **options: Any
) -> Redis:
    """A client of the server at *url* (``redis://``, ``rediss://``, ``unix://``, ``sentinel://``).

    TLS checks certificate and host name; ``?ssl_ca_certs=`` names a file with other authorities to trust, and
    ``?ssl_cert_reqs=none`` turns the check off for hosts with certificates of their own making. Nothing is tried twice
    unseen: whoever calls knows whether that is harmless. *options* are redis-py's; *master_name* and *sentinel_kwargs*
    are for Sentinel, and for nothing else.
    """
    settings: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "socket_read_size": READ_BYTES,
        "parser_class": KeepingParser,
    }
    if not url.startswith("unix:"):
        settings["socket_keepalive"] = True
    if url.startswith("rediss:") or (url.startswith("sentinel:") and "ssl=" in url):
        settings |= {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": "ssl_cert_reqs=none" not in url}
    settings |= options
    if url.startswith("sentinel:"):
        return connect_by_sentinel(url, settings, master_name=master_name, sentinel_kwargs=sentinel_kwargs)
    return Redis.from_url(url, **settings)
