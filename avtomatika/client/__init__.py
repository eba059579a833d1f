"""Python client of the HTTP API."""

from avtomatika.addresses import Address, Mode
from avtomatika.schemas.webhooks import is_genuine

from .client import AsyncClient, Client
from .operations import LONGEST_WAIT_SECONDS

__all__ = ["LONGEST_WAIT_SECONDS", "Address", "AsyncClient", "Client", "Mode", "is_genuine"]
