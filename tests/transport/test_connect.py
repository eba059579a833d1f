"""Connecting to the server."""

from __future__ import annotations

from typing import Any

from avtomatika.transport.connection.connect import KEPT_BYTES, connect


def test_a_connection_keeps_the_buffer_of_a_large_reply(bench: Any) -> None:
    """hiredis frees buffers larger than its ``maxbuf`` after reading everything."""
    bench.redis.set("large", b"x" * 500_000)

    with connect(bench.url) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("GET", "large")
        answer = connection.read_response()

        assert len(answer) == 500_000
        assert connection._parser._reader.getmaxbuf() == KEPT_BYTES
