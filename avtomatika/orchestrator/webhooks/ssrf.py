"""SSRF protection: webhooks go to public addresses, and to addresses that the operator allows.

Clients choose the receivers. Without this rule a client could make us call hosts of our own network.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: NAT64 prefixes: the IPv4 address is in the last four bytes.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse *texts* like ``10.0.0.0/8`` or ``127.0.0.1``. Raises ValueError if one is not a network."""
    return tuple(ip_network(text, strict=False) for text in texts)


def is_allowed(address: str, *, allowed: Iterable[Network] = ()) -> bool:
    """Return True if a webhook may be sent to *address*, an IP address.

    >>> is_allowed("93.184.215.14"), is_allowed("127.0.0.1"), is_allowed("::ffff:10.0.0.7")
    (True, False, False)
    >>> is_allowed("10.0.0.7", allowed=networks(["10.0.0.0/8"]))
    True
    """
    found = _effective_address(ip_address(address.partition("%")[0]))
    if any(found in network for network in allowed if network.version == found.version):
        return True
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _effective_address(address: Address) -> Address:
    """Return the address that traffic to *address* reaches."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and any(address in network for network in _NAT64):
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded or address
