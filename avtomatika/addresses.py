"""Addresses of orchestrators, as workers and clients read them from ``ORCHESTRATORS_CONFIG``."""

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: Schemes of addresses: the HTTP API, or the broker itself.
WEB_SCHEMES = ("http", "https")
#: Schemes of brokers that store jobs.
BROKER_SCHEMES = ("redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster")
SCHEMES = (*WEB_SCHEMES, *BROKER_SCHEMES, "amqp", "amqps")
#: Priority of an entry without one, as in the public SDK.
_PRIORITY = 10
_FIELDS = ("url", "token", "weight", "priority")


class Mode(StrEnum):
    FAILOVER = "FAILOVER"  # the first healthy address of the list
    ROUND_ROBIN = "ROUND_ROBIN"  # all of them in turn


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an orchestrator; the URL may contain a password and is not in the repr."""

    url: str = field(repr=False)
    weight: int = 1
    token: str | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def is_web(self) -> bool:
        """True for the URL of an HTTP API, False for that of a broker."""
        return self.scheme in WEB_SCHEMES

    def __str__(self) -> str:
        """The URL without users and passwords; of sentinels there may be several."""
        parts = urlsplit(self.url)
        hosts = ",".join(host.rpartition("@")[2] for host in re.split("[,;]", parts.netloc))
        return parts._replace(netloc=hosts, query="").geturl()


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Parse the JSON list of ``ORCHESTRATORS_CONFIG``, in order of ``priority``. Raises ValueError with the reason."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError('must be a list with at least one entry, as in [{"url": "redis://localhost:6379"}]')
    parsed = [_entry(entry) for entry in entries]
    return tuple(address for _, address in sorted(parsed, key=lambda entry: entry[0]))


def parse_address(text: str) -> Address:
    """Parse one URL. Raises ValueError with the reason."""
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the scheme of a URL must be one of {', '.join(SCHEMES)}, not {parts.scheme!r}")
    if not parts.hostname and parts.scheme != "unix":
        raise ValueError("a URL must name a host")
    if parts.scheme == "sentinel" and not parse_qs(parts.query).get("master_name"):
        raise ValueError("a sentinel:// URL must name the primary, as in sentinel://host:26379/0?master_name=mymaster")
    return Address(text)


def _entry(entry: Any) -> tuple[int, Address]:
    """Return the priority and the address of an entry."""
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise ValueError('every entry must be an object with a text "url"')
    unknown = sorted(entry.keys() - _FIELDS)
    if unknown:
        raise ValueError(f"an entry has {', '.join(map(json.dumps, _FIELDS))}, but no {unknown[0]!r}")
    weight, priority, token = entry.get("weight", 1), entry.get("priority", _PRIORITY), entry.get("token")
    if type(weight) is not int or weight < 1:
        raise ValueError(f'"weight" must be a whole number from 1, not {weight!r}')
    if type(priority) is not int:
        raise ValueError(f'"priority" must be a whole number, not {priority!r}')
    if token is not None and not isinstance(token, str):
        raise ValueError('"token" must be text')
    return priority, Address(parse_address(entry["url"]).url, weight, token)
