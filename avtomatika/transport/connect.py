"""Connections to the server, with time limits on everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from kombu.utils.imports import symbol_by_name
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.credentials import CredentialProvider
from redis.retry import Retry

from .addresses import split_login
from .sentinel import connect_by_sentinel
from .tls import read_tls

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
    url: str,
    *,
    tls: bool | Mapping[str, Any] | None = None,
    credential_provider: CredentialProvider | str | None = None,
    master_name: str | None = None,
    sentinel_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Redis:
    """A client of the server at *url* (``redis://``, ``rediss://``, ``unix://``, ``sentinel://``).

    TLS checks certificate and host name; ``?ssl_ca_certs=`` names a file with other authorities to trust, and
    ``?ssl_cert_reqs=none`` turns the check off for hosts with certificates of their own making; *tls* gives the same
    options as a mapping. A *credential_provider*, or the class that its dotted name leads to, is asked for user and
    password of each new connection. Nothing is tried twice unseen: whoever calls knows whether that is harmless.
    *options* are redis-py's; *master_name* and *sentinel_kwargs* are for Sentinel, and for nothing else.
    Raises ValueError for options that make no sense.
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
    url, tls_settings = read_tls(url, tls)
    url, provider = _read_provider(url, credential_provider)
    settings |= tls_settings | options
    if provider is not None:
        settings["credential_provider"] = provider
    if url.startswith("sentinel:"):
        return connect_by_sentinel(
            url, settings, tls=bool(tls_settings), master_name=master_name, sentinel_kwargs=sentinel_kwargs
        )
    if tls_settings:
        url = "rediss" + url[url.index(":") :]
    return Redis.from_url(url, **settings)


def _read_provider(url: str, given: CredentialProvider | str | None) -> tuple[str, CredentialProvider | None]:
    """The credential provider, *given* or named in the query of *url*, and the URL without it and without a login."""
    address, _, query = url.partition("?")
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    named = pairs.pop("credential_provider", None)
    provider = given or named
    if not provider:
        return url, None
    if isinstance(provider, str):
        provider = symbol_by_name(provider)()
    if not isinstance(provider, CredentialProvider):
        raise ValueError(f"a credential provider must be a redis.CredentialProvider, not {provider!r}")
    url, _ = split_login(f"{address}?{urlencode(pairs)}" if pairs else address)
    return url, provider
