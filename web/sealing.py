"""Sealed values: signed text that browsers and links carry, each valid for one purpose only."""

from hashlib import sha256
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from avtomatika.core.signing import GroupSecret


def seal(secret: GroupSecret, purpose: str, value: Any) -> str:
    """Return *value* (JSON) as signed, readable text."""
    return _serializer(secret, purpose).dumps(value)


def unseal(secret: GroupSecret, purpose: str, sealed: str) -> Any:
    """Return the value that was sealed for *purpose* with one of the group's secrets, or None for any other text."""
    if not sealed.isascii():  # base64 decoding ignores such characters
        return None
    try:
        return _serializer(secret, purpose).loads(sealed)
    except BadData:
        return None


def _serializer(secret: GroupSecret, purpose: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret.keys, salt=f"avtomatika {purpose}", signer_kwargs={"key_derivation": "hmac", "digest_method": sha256}
    )
