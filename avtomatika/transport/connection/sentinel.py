"""Sentinel: its URLs, and a client of the current primary."""

from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.sentinel import MasterNotFoundError, Sentinel

from .addresses import SENTINEL_LOGIN, read_hosts

_DEFAULT_PORT = 26379
#: A sentinel that does not answer within this time is skipped.
_ASK_SECONDS = 2.0


class _Sentinels(Sentinel):
    """Names the sentinels in errors without their connection settings."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            host, port = super().discover_master(service_name)
        except MasterNotFoundError:
            asked = ", ".join("{host}:{port}".format_map(_kwargs(each)) for each in self.sentinels)
            raise MasterNotFoundError(f"no sentinel of {asked} names a primary {service_name!r}") from None
        return host, port


def connect_by_sentinel(
    url: str,
    settings: Mapping[str, Any],
    *,
    tls: bool = False,
    master_name: str | None,
    sentinel_kwargs: Mapping[str, Any] | None,
) -> Redis:
    """Return a client of the primary that the sentinels at *url* report; they are asked for each new connection.

    ``sentinel://[user:password@]host[:port][,host[:port]...]/db?master_name=name``; hosts may also be separated by
    ``;`` and prefixed with ``sentinel://``, as in kombu. *tls* applies to servers and sentinels. Raises ValueError
    without a *master_name*.
    """
    hosts, given = read_hosts(url, _DEFAULT_PORT)
    name = master_name or given.pop("master_name", None)
    if not name:
        raise ValueError("a sentinel:// URL must name the primary: ?master_name=... (or the option master_name)")
    of_sentinels = {theirs: given.pop(ours) for ours, theirs in SENTINEL_LOGIN.items() if ours in given}
    if "credential_provider" in settings:
        given = {key: value for key, value in given.items() if key not in ("username", "password")}
    of_servers = dict(settings) | given | ({"ssl": True} if tls else {})
    shared = {key: value for key, value in of_servers.items() if key.startswith(("ssl", "protocol", "retry"))}
    limits = {"socket_timeout": _ASK_SECONDS, "socket_connect_timeout": _ASK_SECONDS}
    sentinels = _Sentinels(hosts, sentinel_kwargs={**shared, **limits, **of_sentinels, **(sentinel_kwargs or {})})
    client: Redis = sentinels.master_for(name, **of_servers)
    return client


def _kwargs(client: Redis) -> dict[str, Any]:
    kwargs: dict[str, Any] = client.connection_pool.connection_kwargs
    return kwargs
