"""Peers: web addresses of one orchestrator group. Requests go to any that is healthy."""

import logging
from collections.abc import Mapping
from typing import Any

from avtomatika.addresses import Address
from avtomatika.errors import UnavailableError

from .http_client import HttpClient
from .identity import Identity
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)


class Peers:
    """The peers of the link of *slot*; *own* is its address if it is a web address. Not thread-safe, except
    :meth:`abort`."""

    def __init__(self, identity: Identity, slot: LinkSlot, own: Address | None = None) -> None:
        self._identity = identity
        self._slot = slot
        self._own = None if own is None else self._connected(own)
        #: Clients for the other addresses of the group.
        self._others: dict[Address, HttpClient] = {}
        self._is_aborted = False

    def request(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the first reply: from the own address while it is healthy, otherwise from any other."""
        clients = self._in_order()
        for client in clients[:-1]:
            try:
                return client.request("POST", path, body)
            except UnavailableError as error:
                if self._is_aborted:
                    raise
                logger.info("%s; trying another address of the same group", error)
        if not clients:
            raise UnavailableError("no web address of the same group can be reached")
        return clients[-1].request("POST", path, body)

    def _in_order(self) -> list[HttpClient]:
        others = [self._other(address) for address in self._slot.peers()]
        if self._own is None:
            return others
        return [self._own, *others] if self._slot.is_healthy else [*others, self._own]

    def _other(self, address: Address) -> HttpClient:
        if address not in self._others:
            self._others[address] = self._connected(address)
        return self._others[address]

    def _connected(self, address: Address) -> HttpClient:
        return HttpClient(address, self._identity.headers)

    def abort(self) -> None:
        """Abort a running request. Any thread may call it."""
        self._is_aborted = True
        for client in self._all():
            client.abort()

    def close(self) -> None:
        for client in self._all():
            client.close()

    def _all(self) -> list[HttpClient]:
        return [*([] if self._own is None else [self._own]), *self._others.values()]
