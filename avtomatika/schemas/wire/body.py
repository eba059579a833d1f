"""The common part of all wire messages: a JSON object with a version and a kind.

:func:`load` and :func:`read` raise only InvalidMessageError, whatever the input.
"""

import reprlib
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Generic, TypeVar

import orjson

from avtomatika.core.job import Json
from avtomatika.core.jsonable import MAX_DEPTH
from avtomatika.core.signing import GroupSecret, Signer
from avtomatika.errors import AvtomatikaError
from avtomatika.schemas.fields import Field

T = TypeVar("T")

#: Protocol version of every message.
VERSION = 1
#: Maximum size of a message in bytes; larger data belongs in files.
MAX_BYTES = 8 * 1024 * 1024
#: Reason for rejecting a message without the group's signature.
UNSIGNED = "it does not carry the group's signature"
#: Levels of nesting of a message around its data.
_ENVELOPE_DEPTH = 4


class InvalidMessageError(AvtomatikaError):
    """A message that cannot be decoded; *field* is the invalid field (``body``: the whole message)."""

    code = "bad_message"

    def __init__(self, kind: str, *, field: str, value: object, expected: str) -> None:
        super().__init__(f"{kind} message: {field!r} is {reprlib.repr(value)}, but must be {expected}")
        self.kind = kind
        self.field = field
        self.value = value


class MessageAuthenticationError(InvalidMessageError):
    """A well-formed message that is not from an authorized sender; *job_id* is the job it names.

    *closes_task*: it closes a task that was dispatched, so its job must not wait for another result.
    """

    code = "forged_message"

    def __init__(self, kind: str, *, job_id: str, reason: str, closes_task: bool = False) -> None:
        AvtomatikaError.__init__(self, f"{kind} message of job {job_id}: {reason}")
        self.kind = kind
        self.field = "body"
        self.value = None
        self.job_id = job_id
        self.reason = reason
        self.closes_task = closes_task


def dump(kind: str, values: Mapping[str, Any], *, signer: Signer | None = None) -> str:
    """Encode a message, signed if there is a *signer*.

    Raises TypeError if *values* contain something that JSON cannot represent.
    """
    text = orjson.dumps({"v": VERSION, "kind": kind, **values})
    return (text if signer is None else signer.signed(text)).decode()


def now_ms() -> int:
    """Return the time for ``ts``, when a message is written."""
    return time_ns() // 1_000_000


def load(name: str, raw: str | bytes) -> dict[str, Any]:
    """Decode *raw*; *name* is the expected message for error texts."""
    if len(raw) > MAX_BYTES:
        raise InvalidMessageError(
            name, field="body", value=raw[:100], expected=f"at most {MAX_BYTES} bytes, not {len(raw)}"
        )
    try:
        encoded = raw.encode() if isinstance(raw, str) else raw
        body = orjson.loads(encoded)
    except ValueError as error:
        raise InvalidMessageError(name, field="body", value=raw[:100], expected=f"JSON ({error})") from None
    if not isinstance(body, dict):
        raise InvalidMessageError(name, field="body", value=body, expected="an object")
    if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH and _is_too_deep(body):
        raise InvalidMessageError(name, field="body", value=body, expected=f"nested at most {MAX_DEPTH} levels deep")
    version = body.get("v")
    if type(version) is not int or version != VERSION:
        raise invalid_field(name, body, "v", str(VERSION))
    return body


def load_kind(kind: str, raw: str | bytes) -> dict[str, Any]:
    """Decode *raw* as a message of *kind*."""
    body = load(kind, raw)
    if body.get("kind") != kind:
        raise invalid_field(kind, body, "kind", repr(kind))
    return body


def load_own(kind: str, raw: str | bytes, secret: GroupSecret) -> dict[str, Any]:
    """Load a message that only the group may send.

    Raises MessageAuthenticationError unless the group has signed it.
    """
    body = load_kind(kind, raw)
    if not secret.is_signed(raw.encode() if isinstance(raw, str) else raw):
        raise MessageAuthenticationError(kind, job_id=str(body.get("job_id")), reason=UNSIGNED)
    return body


def read(kind: str, body: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return the validated values of *fields*. Unknown fields are ignored, so that newer senders may add some."""
    values = {}
    for name, is_right, expected in fields:
        value = body.get(name)
        if not is_right(value):
            raise invalid_field(kind, body, name, expected)
        values[name] = value
    return values


def invalid_field(kind: str, body: Mapping[str, Any], field: str, expected: str) -> InvalidMessageError:
    """Return the error for an invalid *field*."""
    if field not in body:
        expected += " (it is missing)"
    return InvalidMessageError(kind, field=field, value=body.get(field), expected=expected)


class MessageKinds(Generic[T]):
    """Maps each kind to its class and fields, which have the same names on the wire; *name* is the type for error
    texts. To add a kind, add a class and an entry."""

    def __init__(self, name: str, known: Mapping[str, tuple[Callable[..., T], tuple[Field, ...]]]) -> None:
        self._name = name
        self._known = known
        self._kind_of = {make: kind for kind, (make, _) in known.items()}

    def values(self, message: T) -> tuple[str, dict[str, Json]]:
        """Return kind and fields of *message*."""
        kind = self._kind_of[type(message)]
        return kind, {name: getattr(message, name) for name, _, _ in self._known[kind][1]}

    def read(self, body: Mapping[str, Any]) -> T:
        """Decode *body*. Raises InvalidMessageError if the kind is unknown or a field is invalid."""
        kind = body.get("kind")
        if not isinstance(kind, str) or kind not in self._known:
            raise invalid_field(self._name, body, "kind", f"one of {', '.join(self._known)}")
        make, fields = self._known[kind]
        return make(**read(kind, body, fields))


def _is_too_deep(body: object) -> bool:
    """Return True if *body* is nested too deeply to be encoded again."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH + _ENVELOPE_DEPTH):
        containers = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for nodes in containers for child in nodes if isinstance(child, dict | list)]
        if not level:
            return False
    return True
