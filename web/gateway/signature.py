"""Signatures of the public SDK: HMAC-SHA256 with the worker's token over the canonical form of the body.

Canonical form: sorted keys, no keys with null, floats without a fraction as integers, serialized by orjson. Other
libraries format numbers differently (``5e-05`` in Python's json, ``5e-5`` in orjson), so only orjson may serialize it.
"""

import hmac
from typing import Any

import orjson

from avtomatika.errors import ForbiddenError

#: Fields that are not signed: the signature itself, and a field that proxies extend.
_UNSIGNED = frozenset({"security", "_signature", "bubbling_chain"})


def check_signature(body: dict[str, Any], *, worker_id: str, token: str) -> None:
    """Raise ForbiddenError if *body* has a signature that is not of *worker_id*. A signature is optional."""
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
    """Return the signature of *body* in lower-case hex."""
    signed = {name: value for name, value in body.items() if name not in _UNSIGNED}
    try:
        text = orjson.dumps(_normal(signed), option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer that orjson cannot serialize
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
