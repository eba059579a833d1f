"""Where the web listens, and how one gets there."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from socket import SO_REUSEADDR, SOL_SOCKET, socket

from avtomatika.errors import SettingsError

#: How many ports after the wanted one are tried.
_PORTS_TRIED = 100
#: To listen at these is to listen everywhere.
_EVERYWHERE = ("", "0.0.0.0")  # noqa: S104 - compared with, never bound to


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def free(cls, host: str, wanted_port: int) -> Address:
        """At *wanted_port*, or at the next one that nobody has."""
        for port in range(wanted_port, min(wanted_port + _PORTS_TRIED, 65_536)):
            if is_free(port, host):
                return cls(host, port)
        raise SettingsError(f"no port from {wanted_port} on is free")

    @property
    def url(self) -> str:
        """For people: by the name that they know this machine by, where that leads here."""
        return f"http://{'localhost' if self.host in (*_EVERYWHERE, '127.0.0.1') else self.host}:{self.port}"

    def answers(self) -> bool:
        """Whether the web is there and well."""
        connection = HTTPConnection("127.0.0.1" if self.host in _EVERYWHERE else self.host, self.port, timeout=1)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can connect to *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_free(port: int, host: str) -> bool:
    """Whether a server could listen on *port* now."""
    with socket() as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
