"""One POST to a webhook receiver: a URL that a client chose and that may be hostile.

The host name is resolved once, every address is checked, and the connection goes to one of these addresses, so a later
DNS change has no effect. Redirects and proxies are not used, and only the status of the response is read.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self
from urllib.parse import quote, urlsplit

import h11

from .ssrf import Network, is_allowed

logger = logging.getLogger(__name__)

#: Threads that resolve names: a slow name server must not delay other webhooks.
_LOOKUP_THREADS = 32
#: Maximum size of the response headers, in bytes.
_MAX_HEADER_BYTES = 16 * 1024
#: Time limit for the rest of a response after its status.
_GRACE_SECONDS = 0.5
_PORTS = {"http": 80, "https": 443}


#: Host name -> addresses; raises OSError if it does not resolve.
LookUp = Callable[[str], list[str]]


def look_up(host: str) -> list[str]:
    """Resolve *host* with the system's resolver."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class DeliveryError(Exception):
    """A webhook was not delivered. The text is shown to the client, and reveals nothing about our network.

    *is_permanent*: a retry cannot help. *is_unreachable*: the receiver did not respond at all.
    """

    def __init__(self, reason: str, *, is_permanent: bool = False, is_unreachable: bool = False) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent
        self.is_unreachable = is_unreachable


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a webhook URL. Raises DeliveryError if the URL is invalid."""

    scheme: str
    host: str
    port: int
    path: str
    is_trusted: bool = False

    @classmethod
    def of(cls, url: str, *, is_trusted: bool = False) -> Self:
        """A trusted URL, which is an operator's, may be of a private address."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("ascii" if ":" in (parts.hostname or "") else "idna").decode()
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            host, port = "", 0
        if not host:
            raise DeliveryError("invalid URL", is_permanent=True)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
        query = quote(parts.query, safe="/?%:@!$&'()*+,;=-._~")
        return cls(parts.scheme, host, port, f"{path}?{query}" if query else path, is_trusted)

    @property
    def origin(self) -> str:
        """Identifies a receiver for its circuit breaker."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class WebhookClient:
    """Sends POSTs, each over a new connection, within *timeout_seconds* from the DNS lookup to the status."""

    def __init__(self, *, timeout_seconds: float, allowed: Sequence[Network] = (), look_up: LookUp = look_up) -> None:
        self.timeout_seconds = timeout_seconds
        self._allowed = allowed
        self._look_up = look_up
        self._lookups = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="webhook-names")

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status, a 2xx; raise DeliveryError otherwise."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                status = await self._post(target, headers, body)
        except TimeoutError:
            raise DeliveryError(f"no response within {self.timeout_seconds:g} s", is_unreachable=True) from None
        if 200 <= status < 300:
            return status
        if 300 <= status < 400:
            raise DeliveryError(f"HTTP status {status}; redirects are not followed")
        raise DeliveryError(f"HTTP status {status}", is_permanent=status == 410)

    def close(self) -> None:
        """Cancel pending lookups."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        reader, writer = await self._connect(target, await self._addresses(target))
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES)
        try:
            writer.write(_request(connection, target, headers, body))
            await writer.drain()
            status = await _status(connection, reader)
            with suppress(TimeoutError):  # let it finish its response
                await asyncio.wait_for(reader.read(_MAX_HEADER_BYTES), _GRACE_SECONDS)
            return status
        except h11.RemoteProtocolError as error:
            is_too_large = error.error_status_hint == 431
            raise DeliveryError("response headers too large" if is_too_large else "the response is not HTTP") from None
        except (OSError, EOFError) as error:
            raise DeliveryError(f"connection lost: {_describe(error)}", is_unreachable=True) from None
        finally:
            writer.transport.abort()  # do not wait for the receiver to close

    async def _addresses(self, target: Target) -> list[str]:
        """Resolve the name of *target*; raise DeliveryError unless it is trusted or all its addresses are allowed."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._lookups, self._look_up, target.host)
        except (OSError, UnicodeError):
            raise DeliveryError("its host name does not resolve", is_unreachable=True) from None
        for address in addresses:
            if not target.is_trusted and not is_allowed(address, allowed=self._allowed):
                logger.warning("webhook to %s refused: %s is not public and not in WEBHOOK_ALLOW", target.host, address)
                raise DeliveryError("it resolves to a private address that is not in WEBHOOK_ALLOW", is_permanent=True)
        return addresses

    async def _connect(
        self, target: Target, addresses: Sequence[str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of *addresses* that accepts; TLS certificates are verified against the host name."""
        tls = self._tls if target.scheme == "https" else None
        name = target.host if tls else None
        problem: OSError | None = None
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    address, target.port, ssl=tls, server_hostname=name, limit=_MAX_HEADER_BYTES
                )
            except ssl.SSLCertVerificationError as error:
                raise DeliveryError(f"invalid certificate: {error.verify_message}") from None
            except OSError as error:
                problem = error
        raise DeliveryError(f"cannot connect: {_describe(problem)}", is_unreachable=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _request(connection: h11.Connection, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fixed = {"Host": target.netloc, "Content-Length": str(len(body)), "Connection": "close"}
    request = h11.Request(method="POST", target=target.path, headers=list({**fixed, **headers}.items()))
    parts = (connection.send(event) for event in (request, h11.Data(body), h11.EndOfMessage()))
    return b"".join(part or b"" for part in parts)


async def _status(connection: h11.Connection, reader: asyncio.StreamReader) -> int:
    """Return the status of the final response; informational ones (1xx) are skipped."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            data = await reader.read(_MAX_HEADER_BYTES)
            if not data:
                raise EOFError
            connection.receive_data(data)


def _describe(error: BaseException | None) -> str:
    """Describe *error* without addresses."""
    if isinstance(error, EOFError):
        return "closed without a response"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    return type(error).__name__
