"""Fields and validators for the bodies and responses of the HTTP API."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields
from marshmallow.validate import Range

from avtomatika.core.names import MOST_LABELS, NAME
from avtomatika.core.times import seconds_of, utc

#: Maximum timeout: a year.
LONGEST_TIMEOUT_SECONDS = 365 * 24 * 3600
#: Schema of the names of labels, and of their values.
LABEL_NAMES = {"allOf": [{"propertyNames": {"pattern": f"^{NAME.pattern}$"}, "maxProperties": MOST_LABELS}]}
LABEL_VALUES = {"minLength": 1, "maxLength": 128, "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"}
#: Schema of a time or an age.
TIME_OR_AGE = {"anyOf": [{"pattern": "^[0-9]{1,6}[smhdw]$"}, {"format": "date-time"}]}
#: Characters that URLs and labels must not contain: control characters, such as line breaks.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Seconds(fields.Float):
    """A positive number of seconds; text is rejected."""

    def __init__(self, **options: Any) -> None:
        error = f"must be above 0 and at most {LONGEST_TIMEOUT_SECONDS}"
        options["metadata"] = {**options.get("metadata", {}), "exclusiveMinimum": 0}
        super().__init__(validate=Range(0, LONGEST_TIMEOUT_SECONDS, min_inclusive=False, error=error), **options)

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValidationError("must be a number of seconds")
        return float(value)


class Whole(fields.Integer):
    """A whole number, also as 3.0, which JSON does not distinguish from 3; text is rejected."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict=True, **options)

    def _validated(self, value: Any) -> int:
        return super()._validated(int(value) if isinstance(value, float) and value.is_integer() else value)


class Timestamp(fields.Field[int]):
    """A time: milliseconds since the epoch internally, RFC 3339 in UTC in JSON."""

    def _serialize(self, value: int | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class FutureTime(fields.Field[int]):
    """RFC 3339 with a time zone in JSON; milliseconds since the epoch internally."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        return _epoch_ms(value, "must be a time with a time zone, as in 2030-01-31T07:00:00+01:00")


class PastTime(fields.Field[int | timedelta]):
    """RFC 3339 with a time zone (milliseconds since the epoch internally), or an age such as ``1d`` or ``90m``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int | timedelta:
        if isinstance(value, str) and (age := seconds_of(value)) is not None:
            return timedelta(seconds=age)
        return _epoch_ms(value, "must be a time with a time zone, as in 2026-11-23T07:00:00Z, or an age as in 1d")


class Words(fields.Field[tuple[str, ...]]):
    """Comma-separated words among *known* ones; in JSON also a list of them. *error* describes them."""

    def __init__(self, known: Iterable[str], *, error: str, **options: Any) -> None:
        super().__init__(**options)
        self._known, self._error = tuple(known), error
        word = f"({'|'.join(self._known)})"
        self.metadata = {**self.metadata, "type": "string", "pattern": f"^{word}(,{word})*$"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        words = value if isinstance(value, list) else str(value).split(",")
        found = tuple(str(word).strip() for word in words if str(word).strip())
        if not found or not set(found) <= set(self._known):
            raise ValidationError(f"{self._error} {', '.join(self._known)}")
        return found


class Label(fields.Field[tuple[str, str]]):
    """``name=value``, split at the first ``=``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            raise ValidationError("must be name=value")
        return name, text


def _epoch_ms(text: Any, expected: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        raise ValidationError(expected)
    return round(at.timestamp() * 1000)


def about(description: str, **more: Any) -> dict[str, Any]:
    """Return the ``metadata`` of a field: its description in the OpenAPI document, and *more* of its schema there."""
    return {**more, "description": description}


def rfc3339(timestamp_ms: int) -> str:
    """Format *timestamp_ms* in UTC.

    >>> rfc3339(1_795_451_644_007)
    '2026-11-23T16:34:04.007Z'
    """
    return utc(timestamp_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_label_name(name: str) -> None:
    """Reject a name that cannot be used in ``?label=name=value``."""
    if not NAME.fullmatch(name):
        raise ValidationError("must be 1 to 64 letters, digits, '_' or '-'")


def check_label_value(value: str) -> None:
    """Reject a value that is empty, too long, or has control characters."""
    if not 1 <= len(value) <= 128 or _UNPRINTABLE.search(value):
        raise ValidationError("must be 1 to 128 printable characters")


def check_labels(labels: Mapping[str, str]) -> None:
    """Reject too many labels: each has an index in the store."""
    if len(labels) > MOST_LABELS:
        raise ValidationError(f"{len(labels)} labels, but at most {MOST_LABELS} are kept")


def check_webhook_url(url: str) -> None:
    """Reject anything but a plain http or https URL; its address is checked when it is called."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValidationError("is not a URL") from None
    if " " in url or _UNPRINTABLE.search(url) or not parts.hostname or port == 0:
        raise ValidationError("is not a URL")
    if parts.scheme not in ("http", "https"):
        raise ValidationError("must start with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("must not carry a user name or a password")
