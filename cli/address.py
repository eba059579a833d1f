"""Where the web listens, and how one gets there."""

from __future__ import annotations

from dataclasses import dataclass
from errno import EADDRINUSE
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, create_server, socket

from avtomatika.errors import SettingsError

#: The descriptor of the socket that the web takes over from its parent.
LISTEN_VARIABLE = "AVTOMATIKA_LISTEN_FD"
#: How many ports after the wanted one are tried.
_PORTS_TRIED = 100
#: Connections that wait to be accepted; as gunicorn has it.
_BACKLOG = 2048
#: Addresses that stand for all interfaces, and how this machine reaches them.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        """For people: by the name that they know this machine by, where that leads here."""
        if self.host in (*_EVERYWHERE, "127.0.0.1"):
            return f"http://localhost:{self.port}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def answers(self) -> bool:
        """Whether the web is there and well."""
        connection = HTTPConnection(_EVERYWHERE.get(self.host, self.host), self.port, timeout=1)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def listen(host: str, wanted_port: int) -> socket:
    """A socket that listens at *wanted_port*, or at the next port that is free; nobody else can have that port then."""
    family = AF_INET6 if ":" in host else AF_INET
    for port in range(wanted_port, min(wanted_port + _PORTS_TRIED, 65_536)):
        try:
            return create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise SettingsError(f"cannot listen at {host or '*'}:{port}: {error.strerror or error}") from None
    raise SettingsError(f"no port from {wanted_port} on is free")


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
