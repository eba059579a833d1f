"""The listening address of the web process and its URL."""

from errno import EADDRINUSE
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, create_server, socket

from avtomatika.errors import SettingsError

#: Descriptor of the listening socket that the web process inherits.
LISTEN_VARIABLE = "AVTOMATIKA_LISTEN_FD"
#: Ports tried, starting with the wanted one.
_PORTS_TRIED = 100
#: Connections waiting to be accepted; gunicorn's default.
_BACKLOG = 2048
#: Addresses that this machine reaches as ``localhost``.
_LOCAL = ("", "0.0.0.0", "::", "127.0.0.1")  # noqa: S104 - compared with, never bound to


def url_of(host: str, port: int) -> str:
    """Return the URL of a listening address for people, with ``localhost`` where possible."""
    if host in _LOCAL:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
    try:
        create_server((host, port)).close()
    except OSError:
        return False
    return True
