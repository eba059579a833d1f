"""Python client of the HTTP API."""

from avtomatika.schemas.webhooks import is_genuine

from .api import LONGEST_WAIT_SECONDS, ApiClient

__all__ = ["LONGEST_WAIT_SECONDS", "ApiClient", "is_genuine"]
