"""The listening address of the web process and its URL."""

from dataclasses import dataclass
from errno import EADDRINUSE
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from select import select
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, create_server, socket

from avtomatika.errors import SettingsError

#: Descriptor of the listening socket that the web process inherits.
LISTEN_VARIABLE = "AVTOMATIKA_LISTEN_FD"
#: Ports tried, starting with the wanted one.
_PORTS_TRIED = 100
#: Connections waiting to be accepted; gunicorn's default.
_BACKLOG = 2048
#: Wildcard addresses, and the address at which this machine reaches them.
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        """URL for people, with ``localhost`` where possible."""
        if self.host in (*_WILDCARDS, "127.0.0.1"):
            return f"http://localhost:{self.port}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


class LivenessProbe:
    """Requests ``/livez`` of the web without blocking: a request stays open until a busy web answers."""

    def __init__(self, address: Address) -> None:
        self._host = _WILDCARDS.get(address.host, address.host)
        self._port = address.port
        self._request: HTTPConnection | None = None

    def is_alive(self) -> bool:
        """Return whether the web has answered; the next call sends another request."""
        try:
            if self._request is None:
                self._request = HTTPConnection(self._host, self._port, timeout=1)
                self._request.request("GET", "/livez")
            if not select([self._request.sock], [], [], 0)[0]:
                return False
            status = self._request.getresponse().status
        except (OSError, HTTPException):
            status = None
        self.close()
        return status == 200

    def close(self) -> None:
        """Drop the open request, if any."""
        if self._request is not None:
            self._request.close()
            self._request = None


def listen(host: str, wanted_port: int) -> socket:
    """Return a socket that listens on *wanted_port* or the next free port, so that no other process can take it."""
    family = AF_INET6 if ":" in host else AF_INET
    for port in range(wanted_port, min(wanted_port + _PORTS_TRIED, 65_536)):
        try:
            return create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise SettingsError(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from None
    raise SettingsError(f"no port from {wanted_port} to {wanted_port + _PORTS_TRIED - 1} is free")


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can connect to *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_free(port: int, host: str) -> bool:
    """Return whether *port* can be bound now."""
    with socket() as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
