"""redis-py clients with time limits on every operation."""

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
#: Size of socket reads: a batch is up to half a mebibyte.
READ_BYTES = 256 * 1024
#: Response buffer that a connection keeps.
KEPT_BYTES = 1024 * 1024


class KeepingParser(DefaultParser):  # type: ignore[misc,valid-type] # redis-py does not say which it is
    """Keeps the response buffer: if it is freed after each batch, it has to be paged in again."""

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
    """Return a client for *url* (``redis://``, ``rediss://``, ``unix://`` or ``sentinel://``).

    TLS verifies certificate and host name; ``?ssl_ca_certs=`` names a file of additional trusted authorities, and
    ``?ssl_cert_reqs=none`` disables verification for hosts with self-signed certificates; *tls* gives the same
    options as a mapping. A *credential_provider*, or the class with this dotted name, supplies the credentials of
    each new connection. Commands are not retried: only the caller knows whether that is safe. *options* are
    redis-py's; *master_name* and *sentinel_kwargs* apply to Sentinel only. Raises ValueError for invalid options.
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
    """Return the credential provider, *given* or named in the query of *url*, and the URL without it and
    credentials."""
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
