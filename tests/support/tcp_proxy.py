"""A TCP proxy with network faults: delays, resets, lost replies, silence. Faults can be changed while it runs."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any, Literal

#: Closing a socket with this option set sends a reset.
_NO_LINGER = struct.pack("ii", 1, 0)

Direction = Literal["up", "down"]


class TcpProxy:
    """Proxy of a local server. Chances are shares of chunks, 0 to 1; *seed* makes them reproducible."""

    def __init__(self, target_port: int, *, seed: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.latency_seconds = 0.0
        #: Chance that a reply and all later ones of its connection are lost, although the request was executed.
        self.swallow_chance = 0.0
        self.reset_chance = 0.0
        #: Direction in which nothing arrives, while connections stay open.
        self.silent: Direction | None = None
        #: Changes what the server sends; the length must stay the same.
        self.rewrite: Callable[[bytes], bytes] = bytes
        self.port = 0
        self._target_port = target_port
        self._random = random.Random(seed)
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="tcp-proxy")
        self._listener: asyncio.Server | None = None

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def accept(self) -> None:
        """Accept connections, always on the same port."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._run(self._close())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=5)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener:
            self._listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}  # including handshakes
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # their sockets are closed in the next iteration

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            writers.append(target_writer)
            pumps = [self._pump("up", reader, target_writer), self._pump("down", target_reader, writer)]
            await asyncio.wait([asyncio.ensure_future(pump) for pump in pumps], return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                _reset(each)

    async def _pump(self, way: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_mute = False  # after a loss, nothing may follow on this connection
        try:
            while chunk := await reader.read(65_536):
                if self.latency_seconds:
                    await asyncio.sleep(self._random.uniform(0, 2 * self.latency_seconds))
                if self._random.random() < self.reset_chance:
                    return
                swallows = way == "down" and self._random.random() < self.swallow_chance
                is_mute = is_mute or swallows or self.silent == way
                if not is_mute:
                    writer.write(chunk if way == "up" else self.rewrite(chunk))
                    await writer.drain()
        except OSError:
            return


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
