"""Free TCP ports."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

#: Below the range of the ports of outgoing connections: no other program gets the port of a server that is down, and a
#: client that retries it cannot connect to itself.
PORTS = range(20_000, 30_000)
_RANDOM = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Return *count* different ports of 127.0.0.1 on which nothing listens."""
    with ExitStack() as stack:
        return [stack.enter_context(_listen()).getsockname()[1] for _ in range(count)]


def free_port() -> int:
    [port] = free_ports(1)
    return port


def _listen() -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_server(("127.0.0.1", _RANDOM.choice(PORTS)))
        except OSError:  # the port is taken
            continue
    raise RuntimeError(f"no port between {PORTS.start} and {PORTS.stop} is free")
