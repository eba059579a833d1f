"""Unsupported servers are rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError


class _Answering(StreamRequestHandler):
    """A minimal server: HELLO returns its version, everything else OK."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            if words[0].upper() == b"HELLO":
                version: bytes = self.server.version  # type: ignore[attr-defined]  # it is the server of this test
                self.wfile.write(b"*4\r\n+version\r\n+%s\r\n+mode\r\n+standalone\r\n" % version)
            else:
                self.wfile.write(b"+OK\r\n")

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:length]


@contextmanager
def server_of(version: str) -> Iterator[str]:
    """Return the URL of a server of *version*."""
    with ThreadingTCPServer(("127.0.0.1", 0), _Answering) as server:
        server.daemon_threads = True
        server.version = version.encode()  # type: ignore[attr-defined]  # ours
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_pause_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed connection is retried at once."""
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda seconds: None)


def connect(url: str) -> Connection:
    options = {"max_retries": 1, "interval_start": 0}
    return Connection(url, transport="avtomatika.transport:Transport", transport_options=options)


@pytest.mark.parametrize("version", ["6.2.14"])
def test_an_old_redis_is_rejected(version: str) -> None:
    with server_of(version) as url, connect(url) as connection, pytest.raises(OperationalError) as refused:
        connection.connect()

    assert str(refused.value) == f"the server is version {version}: Redis >= 7 or Valkey is required"


@pytest.mark.parametrize("version", ["7.0.0", "10.0.0"])
def test_redis_7_and_later_is_accepted(version: str) -> None:
    with server_of(version) as url, connect(url) as connection:
        assert connection.connect()
