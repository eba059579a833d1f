"""Which addresses a webhook may be sent to: public ones, and those that the operator allows.

Receivers are named by clients. Without this rule a client could have us call whatever stands in our own network.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Addresses behind which a gateway finds the IPv4 address in their last four bytes.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """*texts* like ``10.0.0.0/8`` or ``127.0.0.1``. Raises ValueError for what is no network."""
    return tuple(ip_network(text, strict=False) for text in texts)


def may_be_called(address: str, *, allowed: Iterable[Network] = ()) -> bool:
    """Whether a webhook may go to *address*, a literal one.

    >>> may_be_called("93.184.215.14"), may_be_called("127.0.0.1"), may_be_called("::ffff:10.0.0.7")
    (True, False, False)
    >>> may_be_called("10.0.0.7", allowed=networks(["10.0.0.0/8"]))
    True
    """
    found = _meant(ip_address(address.partition("%")[0]))
    if any(found in network for network in allowed if network.version == found.version):
        return True
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _meant(address: Address) -> Address:
    """The address that traffic to *address* ends at."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and any(address in network for network in _NAT64):
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded or address
