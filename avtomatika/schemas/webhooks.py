"""Webhook requests according to Standard Webhooks: body, headers and signature.

Any library of https://www.standardwebhooks.com verifies them.
"""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256

import orjson

from avtomatika import __version__
from avtomatika.core.job import Json
from avtomatika.core.signing import webhook_key

from .api_fields import rfc3339
from .wire import WebhookMessage


def body_of(webhook: WebhookMessage, links: Mapping[str, str] | None = None) -> bytes:
    """Return the body, which is the same for every attempt except for the *links* to large values, by URI."""
    times = {name: rfc3339(webhook.job[name]) for name in ("created_at", "updated_at")}
    body: dict[str, Json] = {
        "type": webhook.event,
        "timestamp": rfc3339(webhook.at_ms),
        "data": {**webhook.job, **times},
    }
    if links:
        body["links"] = dict(links)
    return orjson.dumps(body)


def headers_of(webhook: WebhookMessage, body: bytes, *, now_seconds: int, secret: str | None) -> dict[str, str]:
    """Return the headers of one attempt, unsigned without a *secret*."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"avtomatika/{__version__}",
        "webhook-id": webhook.id,
        "webhook-timestamp": str(now_seconds),
    }
    if secret is not None:
        headers["webhook-signature"] = signature(body, id=webhook.id, timestamp=str(now_seconds), secret=secret)
    return headers


def signature(body: bytes, *, id: str, timestamp: str, secret: str) -> str:
    """Return the HMAC-SHA256 of id, time and body. Raises ValueError if *secret* is marked as base64 but invalid."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(webhook_key(secret), signed, sha256)).decode()


def is_genuine(headers: Mapping[str, str], body: bytes, *, secret: str, now: float, within: float = 300) -> bool:
    """Return True if *body* was signed with *secret* at most *within* seconds before *now*, a Unix time."""
    given = {name.lower(): value for name, value in headers.items()}
    try:
        age = abs(now - int(given["webhook-timestamp"]))
        expected = signature(body, id=given["webhook-id"], timestamp=given["webhook-timestamp"], secret=secret)
        signatures = given["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    return age <= within and any(hmac.compare_digest(each.encode(), expected.encode()) for each in signatures)
