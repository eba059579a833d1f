"""The TCP connection that a request came by."""

from __future__ import annotations

import socket
import sys
from typing import Any

from flask import Request

#: States of a TCP connection in the Linux kernel, of which TCP_INFO begins with one.
_ESTABLISHED = 1


def connection_of(request: Request) -> Any:
    """The socket of *request*, None where the server does not show it."""
    return request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")


def is_disconnected(connection: Any) -> bool:
    """Whether the client has closed *connection*; False where the system cannot tell.

    Asks the kernel for the state instead of peeking: gevent's sockets block in a peek, a TLS socket refuses one, and a
    client may have sent more before it left.
    """
    if connection is None or sys.platform != "linux":
        return False
    if connection.fileno() < 0:
        return True
    try:
        return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED)
    except OSError:  # a Unix domain socket
        return False
