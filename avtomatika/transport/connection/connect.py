"""redis-py clients with time limits on every operation, and with the TLS options of kombu and of the URL."""

import inspect
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils.imports import symbol_by_name
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser, SSLConnection
from redis.credentials import CredentialProvider
from redis.retry import Retry

from avtomatika.transport.keys import PREFIX

from .addresses import CLUSTER_SCHEMES, split_login, split_parameters
from .cluster import Cluster
from .pool import SOCKET_TIMEOUT_SECONDS
from .sentinel import connect_by_sentinel

CONNECT_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_SECONDS = 30
#: Size of socket reads: a batch is up to half a mebibyte.
READ_BYTES = 256 * 1024
#: Response buffer that a connection keeps.
KEPT_BYTES = 1024 * 1024
_KNOWN = frozenset(name for name in inspect.signature(SSLConnection).parameters if name.startswith("ssl_"))
#: Values of ``ssl_cert_reqs``: redis-py's, and the constants' names as used in Celery's documentation.
_CERT_REQS: Mapping[object, ssl.VerifyMode] = {
    mode: mode for mode in (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED)
} | {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
    "cert_none": ssl.CERT_NONE,
    "cert_optional": ssl.CERT_OPTIONAL,
    "cert_required": ssl.CERT_REQUIRED,
}
_SWITCHES = ("ssl_check_hostname", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class KeepingParser(DefaultParser):  # type: ignore[misc,valid-type] # redis-py does not say which it is
    """Keeps the response buffer: if it is freed after each batch, it has to be paged in again."""

    def on_connect(self, connection: Any, **kwargs: Any) -> None:
        super().on_connect(connection, **kwargs)
        self._reader.setmaxbuf(KEPT_BYTES)


def connect(url: str, **options: Any) -> Redis:
    """Return a client as :func:`find_server` does; of a cluster, one of the node that owns the keys with PREFIX now."""
    server = find_server(url, prefixes=[PREFIX], **options)
    return server.connect(server.owner(PREFIX)) if isinstance(server, Cluster) else server


def find_server(
    url: str,
    *,
    tls: bool | Mapping[str, Any] | None = None,
    credential_provider: CredentialProvider | str | None = None,
    master_name: str | None = None,
    sentinel_kwargs: Mapping[str, Any] | None = None,
    prefixes: Sequence[str],
    **options: Any,
) -> Redis | Cluster:
    """Return a client for *url* (``redis://``, ``rediss://``, ``unix://``, ``sentinel://`` or ``redis+cluster://``).

    TLS verifies certificate and host name; ``?ssl_ca_certs=`` names a file of additional trusted authorities, and
    ``?ssl_cert_reqs=none`` disables verification for hosts with self-signed certificates; *tls* gives the same
    options as a mapping. A *credential_provider*, or the class with this dotted name, supplies the credentials of
    each new connection. Commands are not retried: only the caller knows whether that is safe. *options* are
    redis-py's; *master_name* and *sentinel_kwargs* apply to Sentinel only, *prefixes*
    (of all keys) to a cluster. Raises ValueError for invalid options.
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
    if url.startswith(CLUSTER_SCHEMES):
        return Cluster(url, settings, tls=bool(tls_settings), prefixes=prefixes)
    if tls_settings:
        url = "rediss" + url[url.index(":") :]
    return Redis.from_url(url, **settings)


def _read_provider(url: str, given: CredentialProvider | str | None) -> tuple[str, CredentialProvider | None]:
    """Return the credential provider, *given* or named in the query of *url*, and the URL without it and
    credentials."""
    rest, named = split_parameters(url, "credential_provider".__eq__)
    provider = given or named.get("credential_provider")
    if not provider:
        return url, None
    if isinstance(provider, str):
        provider = symbol_by_name(provider)()
    if not isinstance(provider, CredentialProvider):
        raise ValueError(f"a credential provider must be a redis.CredentialProvider, not {provider!r}")
    return split_login(rest)[0], provider


def read_tls(url: str, given: bool | Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return *url* without its TLS options, and redis-py's keyword arguments for TLS, which are empty if TLS is not
    used.

    *given* is kombu's ``ssl``: True, or redis-py's ``ssl_*`` options. The query of the URL takes precedence. TLS is
    used for ``rediss://`` URLs and if any option requests it. Raises ValueError for an option that is not
    supported.
    """
    url, asked = split_parameters(url, lambda name: name.startswith("ssl"))
    is_wanted = _read_switch("ssl", asked.pop("ssl", "false")) or url.startswith(("rediss:", "rediss+"))
    if not (is_wanted or asked or given):
        return url, {}
    if url.startswith("unix:"):
        raise ValueError("TLS options do not apply to a unix:// address")
    return url, _complete({**(given if isinstance(given, Mapping) else {}), **asked})


def _complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options and enable verification of certificate and host name by default."""
    unknown = [name for name in options if name not in _KNOWN]
    if unknown:
        raise ValueError(f"unknown TLS option {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    settings = {name: _read_switch(name, value) if name in _SWITCHES else value for name, value in options.items()}
    mode = options.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    word = mode.lower() if isinstance(mode, str) else mode
    if word is not None and word not in _CERT_REQS:
        raise ValueError(f"TLS option ssl_cert_reqs must be none, optional or required, not {mode!r}")
    settings["ssl_cert_reqs"] = ssl.CERT_NONE if word is None else _CERT_REQS[word]
    if settings["ssl_cert_reqs"] == ssl.CERT_NONE:
        settings["ssl_check_hostname"] = False
    return {"ssl_check_hostname": True, **settings}


def _read_switch(name: str, value: object) -> bool:
    read = value if isinstance(value, bool) else _WORDS.get(str(value).lower())
    if read is None:
        raise ValueError(f"TLS option {name} must be true or false, not {value!r}")
    return read
