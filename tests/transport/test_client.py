"""Connections to the server."""

from __future__ import annotations

from typing import Any

from avtomatika.transport.connection.connect import KEPT_BYTES, connect


def test_a_connection_keeps_the_memory_of_a_large_answer(bench: Any) -> None:
    """hiredis gives back what is larger than its ``maxbuf`` whenever it has read everything."""
    bench.redis.set("large", b"x" * 500_000)

    with connect(bench.url) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("GET", "large")
        answer = connection.read_response()

        assert len(answer) == 500_000
        assert connection._parser._reader.getmaxbuf() == KEPT_BYTES
