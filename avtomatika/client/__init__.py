"""Python client of the HTTP API."""

from avtomatika.schemas.webhooks import is_genuine

from .api import LONGEST_WAIT_SECONDS, Client

__all__ = ["LONGEST_WAIT_SECONDS", "Client", "is_genuine"]
