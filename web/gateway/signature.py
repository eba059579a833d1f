"""Signatures of the public SDK: HMAC-SHA256, with the worker's token, over a body in normal form.

Normal form: keys sorted, keys with null left out, whole floats as integers, the JSON that orjson writes. It is orjson
that says how numbers look (``5e-5``, where Python's json has ``5e-05``), so no other library may write it.
"""

from __future__ import annotations

import hmac
from typing import Any

import orjson

from avtomatika.errors import ForbiddenError

#: Not covered: the signature itself, and what grows on the way.
_UNSIGNED = frozenset({"security", "_signature", "bubbling_chain"})


def check_signature(body: dict[str, Any], *, worker_id: str, token: str) -> None:
    """Raises ForbiddenError where *body* carries a signature that is not that of *worker_id*; one is not asked for."""
    security = body.get("security")
    if security is None:
        return
    match security:
        case {"signature": str(signature)}:
            signer_id = security.get("signer_id")
        case _:
            raise ForbiddenError("Missing required cryptographic signature")
    if signer_id is not None and signer_id != worker_id:
        raise ForbiddenError("Immediate sender ID mismatch")
    if not signature.isascii() or not hmac.compare_digest(signature, signature_of(body, token)):
        raise ForbiddenError("Invalid cryptographic signature")


def signature_of(body: dict[str, Any], token: str) -> str:
    """The signature of *body*, in lower-case hex."""
    signed = {name: value for name, value in body.items() if name not in _UNSIGNED}
    try:
        text = orjson.dumps(_normal(signed), option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a whole number that no JSON of the worker could hold
        raise ForbiddenError("Invalid cryptographic signature") from None
    return hmac.digest(token.encode(), text, "sha256").hex()


def _normal(value: Any) -> Any:
    match value:
        case dict():
            return {name: _normal(each) for name, each in value.items() if each is not None}
        case list():
            return [_normal(each) for each in value]
        case float() if value.is_integer():
            return int(value)
    return value
