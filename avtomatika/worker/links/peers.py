"""Fellows: the web addresses that lead to one orchestrator group. Whichever of them is well is asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from avtomatika.errors import UnavailableError
from avtomatika.worker.config import Address

from .http_client import HttpClient
from .identity import Identity
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)


class Peers:
    """Those of the link that *seat* belongs to; *own* is its address, where that is one. For one thread, but for
    :meth:`abort`."""

    def __init__(self, identity: Identity, seat: LinkSlot, own: Address | None = None) -> None:
        self._identity = identity
        self._seat = seat
        self._own = None if own is None else self._connected(own)
        #: For when that address is away.
        self._others: dict[Address, HttpClient] = {}
        self._is_aborted = False

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first answer: of our own address while that is well, else of any other."""
        exchanges = self._in_order()
        for exchange in exchanges[:-1]:
            try:
                return exchange.ask("POST", path, body)
            except UnavailableError as error:
                if self._is_aborted:
                    raise
                logger.info("%s; trying another address of the same group", error)
        if not exchanges:
            raise UnavailableError("no web address of the same group can be reached")
        return exchanges[-1].ask("POST", path, body)

    def _in_order(self) -> list[HttpClient]:
        others = [self._other(address) for address in self._seat.fellows()]
        if self._own is None:
            return others
        return [self._own, *others] if self._seat.is_healthy else [*others, self._own]

    def _other(self, address: Address) -> HttpClient:
        if address not in self._others:
            self._others[address] = self._connected(address)
        return self._others[address]

    def _connected(self, address: Address) -> HttpClient:
        return HttpClient(address, self._identity.headers)

    def abort(self) -> None:
        """Have a request that waits fail at once. Any thread."""
        self._is_aborted = True
        for exchange in self._all():
            exchange.abort()

    def close(self) -> None:
        for exchange in self._all():
            exchange.close()

    def _all(self) -> list[HttpClient]:
        return [*([] if self._own is None else [self._own]), *self._others.values()]
