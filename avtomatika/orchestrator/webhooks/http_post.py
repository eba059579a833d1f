"""One POST to a receiver that a client has named, and that may mean us no good.

The name is looked up once, every address that it has is checked, and the connection goes to one of those: what the name
leads to a moment later does not matter. No redirect is followed, no proxy asked, and of the answer nothing is read but
its status.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlsplit

from .ssrf import Network, may_be_called

logger = logging.getLogger(__name__)

#: Names are looked up by threads: a name server that sleeps must not keep all others waiting.
_LOOKUP_THREADS = 32
#: Longest line of an answer that is read.
_LONGEST_LINE = 8192
_MOST_LINES = 100
#: How long a receiver may go on after its status.
_GRACE_SECONDS = 0.5
_PORTS = {"http": 80, "https": 443}


#: Name -> addresses; raises OSError where there are none.
LookUp = Callable[[str], list[str]]


def look_up(host: str) -> list[str]:
    """What the system says that *host* leads to."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class DeliveryError(Exception):
    """The receiver could not be told; the text says why, for its owner: it tells nothing of our own network.

    *is_final*: trying again cannot help. *is_away*: it did not answer at all.
    """

    def __init__(self, reason: str, *, is_final: bool = False, is_away: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.is_away = is_away


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. Raises DeliveryError for one that leads nowhere."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("ascii" if ":" in (parts.hostname or "") else "idna").decode()
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            host, port = "", 0
        if not host:
            raise DeliveryError("the URL cannot be called", is_final=True)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
        query = quote(parts.query, safe="/?%:@!$&'()*+,;=-._~")
        return cls(parts.scheme, host, port, f"{path}?{query}" if query else path)

    @property
    def origin(self) -> str:
        """What one receiver has in common: slow here is slow there."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """As a ``Host`` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class WebhookClient:
    """POSTs, each over a connection of its own, within *timeout_seconds* from the first look-up to the status."""

    def __init__(self, *, timeout_seconds: float, allowed: Sequence[Network] = (), look_up: LookUp = look_up) -> None:
        self.timeout_seconds = timeout_seconds
        self._allowed = allowed
        self._look_up = look_up
        self._lookups = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="webhook-names")

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        """The status, a 2xx; raises DeliveryError for everything else."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                status = await self._post(target, headers, body)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self.timeout_seconds:g} s", is_away=True) from None
        if 200 <= status < 300:
            return status
        if 300 <= status < 400:
            raise DeliveryError(f"it answered {status}, and redirects are not followed")
        raise DeliveryError(f"it answered {status}", is_final=status == 410)

    def close(self) -> None:
        """Look up no more names."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        reader, writer = await self._connect(target, await self._addresses(target))
        try:
            writer.write(_request(target, headers, body))
            await writer.drain()
            status = await _status(reader)
            with suppress(TimeoutError):  # so that it may end its answer in peace
                await asyncio.wait_for(reader.read(_LONGEST_LINE), _GRACE_SECONDS)
            return status
        except (OSError, EOFError) as error:
            raise DeliveryError(f"the connection broke: {_words(error)}", is_away=True) from None
        finally:
            writer.transport.abort()  # a receiver that never says goodbye must not keep us

    async def _addresses(self, target: Target) -> list[str]:
        """What the name of *target* leads to, if all of it may be called."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._lookups, self._look_up, target.host)
        except (OSError, UnicodeError):
            raise DeliveryError("its name leads to no address", is_away=True) from None
        for address in addresses:
            if not may_be_called(address, allowed=self._allowed):
                logger.warning("webhook to %s refused: it leads to %s, which WEBHOOK_ALLOW lacks", target.host, address)
                raise DeliveryError("it leads to a private address, and WEBHOOK_ALLOW does not name it", is_final=True)
        return addresses

    async def _connect(
        self, target: Target, addresses: Sequence[str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first of *addresses* that answers; a certificate must be that of the name."""
        tls = self._tls if target.scheme == "https" else None
        name = target.host if tls else None
        problem: OSError | None = None
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    address, target.port, ssl=tls, server_hostname=name, limit=_LONGEST_LINE
                )
            except ssl.SSLCertVerificationError as error:
                raise DeliveryError(f"its certificate does not fit: {error.verify_message}") from None
            except OSError as error:
                problem = error
        raise DeliveryError(f"no connection: {_words(problem)}", is_away=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of the answer, its headers read and thrown away; what is only underway (1xx) is passed over."""
    while True:
        line = await _line(reader)
        version, _, rest = line.partition(b" ")
        status = rest[:3]
        if not (version.startswith(b"HTTP/1.") and status.isdigit() and len(status) == 3):
            raise DeliveryError("what it answered is no HTTP")
        for _ in range(_MOST_LINES):
            if not (await _line(reader)).strip():
                break
        else:
            raise DeliveryError("its answer has too many headers")
        if not status.startswith(b"1"):
            return int(status)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise DeliveryError("a line of its answer is too long") from None


def _words(error: BaseException | None) -> str:
    """What went wrong, without addresses."""
    if isinstance(error, EOFError):
        return "it ended without an answer"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    return type(error).__name__
