"""What every message on the wire has in common: a JSON object with a version and a kind, read with suspicion.

Whatever comes in, the only error that leaves :func:`load` and :func:`read` is InvalidMessageError.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from time import time_ns
from typing import Any

import orjson

from avtomatika.core.jsonable import MAX_DEPTH
from avtomatika.core.signing import GroupSecret, Signer
from avtomatika.errors import AvtomatikaError
from avtomatika.schemas.fields import Field

#: The version that every message carries.
VERSION = 1
#: Larger messages are refused unread: data of that size belongs into files.
MAX_BYTES = 8 * 1024 * 1024
#: What is said of a message of the group that is not by it.
UNSIGNED = "it does not carry the group's signature"
#: A message may be this much deeper than the data in it.
_ENVELOPE_DEPTH = 4


class InvalidMessageError(AvtomatikaError):
    """A message that cannot be read; *field* is what is wrong with it (``body``: all of it)."""

    code = "bad_message"

    def __init__(self, kind: str, *, field: str, value: object, expected: str) -> None:
        super().__init__(f"{kind} message: {field!r} is {reprlib.repr(value)}, but must be {expected}")
        self.kind = kind
        self.field = field
        self.value = value


class Forged(InvalidMessageError):
    """A message that can be read, but is not by whom it should be; *job_id* is the job that it names.

    *is_answer*: it closes a task that was really given, and its job must not wait for another answer.
    """

    code = "forged_message"

    def __init__(self, kind: str, *, job_id: str, reason: str, is_answer: bool = False) -> None:
        AvtomatikaError.__init__(self, f"{kind} message of job {job_id}: {reason}")
        self.kind = kind
        self.field = "body"
        self.value = None
        self.job_id = job_id
        self.reason = reason
        self.is_answer = is_answer


def dump(kind: str, values: Mapping[str, Any], *, signer: Signer | None = None) -> str:
    """The text of a message, signed where there is a *signer*.

    Raises TypeError where *values* hold something that JSON cannot carry.
    """
    text = orjson.dumps({"v": VERSION, "kind": kind, **values})
    return (text if signer is None else signer.signed(text)).decode()


def now_ms() -> int:
    """For ``ts``: when a message was written."""
    return time_ns() // 1_000_000


def load(name: str, raw: str | bytes) -> dict[str, Any]:
    """The object that *raw* holds; *name* is what the reader expects, for the words of an error."""
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
        raise bad(name, body, "v", str(VERSION))
    return body


def load_kind(kind: str, raw: str | bytes) -> dict[str, Any]:
    """Like :func:`load`, of one kind alone."""
    body = load(kind, raw)
    if body.get("kind") != kind:
        raise bad(kind, body, "kind", repr(kind))
    return body


def load_own(kind: str, raw: str | bytes, secret: GroupSecret) -> dict[str, Any]:
    """Like :func:`load_kind`, of what the group alone says. Raises Forged where somebody else has."""
    body = load_kind(kind, raw)
    if not secret.is_signed(raw.encode() if isinstance(raw, str) else raw):
        raise Forged(kind, job_id=str(body.get("job_id")), reason=UNSIGNED)
    return body


def read(kind: str, body: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """The values of *fields*, each checked; others are left alone, so that a newer sender may add some."""
    values = {}
    for name, is_right, expected in fields:
        value = body.get(name)
        if not is_right(value):
            raise bad(kind, body, name, expected)
        values[name] = value
    return values


def bad(kind: str, body: Mapping[str, Any], field: str, expected: str) -> InvalidMessageError:
    """The error that says what *field* should have been."""
    if field not in body:
        expected += " (it is missing)"
    return InvalidMessageError(kind, field=field, value=body.get(field), expected=expected)


def _is_too_deep(body: object) -> bool:
    """What is read must fit into what is written later, and the encoder has a limit."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH + _ENVELOPE_DEPTH):
        containers = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for nodes in containers for child in nodes if isinstance(child, dict | list)]
        if not level:
            return False
    return True
