"""The TCP connection of a request."""

import socket
import sys
from typing import Any

from flask import Request

#: A state of TCP connections in the Linux kernel; the first byte of TCP_INFO is the state.
_ESTABLISHED = 1


def connection_of(request: Request) -> Any:
    """Return the socket of *request*, or None if the server does not expose it."""
    return request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")


def is_disconnected(connection: Any) -> bool:
    """Return whether the client has closed *connection*; False if the platform cannot tell.

    Asks the kernel for the state instead of peeking: gevent's sockets block in a peek, a TLS socket refuses one, and a
    client may have sent more data before it disconnected.
    """
    if connection is None or sys.platform != "linux":
        return False
    if connection.fileno() < 0:
        return True
    try:
        return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED)
    except OSError:  # a Unix domain socket
        return False
