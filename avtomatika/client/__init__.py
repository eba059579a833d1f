"""Python client of the HTTP API."""

from .api import LONGEST_WAIT_SECONDS, ApiClient

__all__ = ["LONGEST_WAIT_SECONDS", "ApiClient"]
