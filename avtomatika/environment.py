"""Reads and checks environment variables, with environs. No other module reads them.

A blank variable counts as unset, and every function then returns None: defaults belong to the fields that use the
values. An invalid value raises SettingsError with the name of the variable, the value (never a secret, nor the password
of a URL) and the expected format.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from environs import Env, EnvError, validate

from avtomatika.errors import SettingsError

T = TypeVar("T")
W = TypeVar("W", bound=str)

_env = Env()


def text(name: str) -> str | None:
    value = _raw(name)
    return None if value is None else value.strip()


def secret(name: str, *, check: Callable[[str], object] = str) -> str | None:
    """Return the variable unchanged. *check* raises ValueError with a reason that does not show the value."""
    value = _raw(name)
    try:
        if value is not None:
            check(value)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
    return value


def parsed(name: str, parse: Callable[[str], T]) -> T | None:
    """Return the result of *parse*, which raises ValueError with the reason."""
    value = text(name)
    try:
        return None if value is None else parse(value)
    except ValueError as error:
        raise _refusal(name, value, str(error)) from None


def integer(name: str, *, minimum: int = 0, maximum: int | None = None) -> int | None:
    limit = "" if maximum is None else f" to {maximum}"
    return _number(_env.int, name, validate.Range(minimum, maximum), f"must be a whole number from {minimum}{limit}")


def number(name: str) -> float | None:
    """Return a number of at least 0."""
    return _number(_env.float, name, validate.Range(0), "must be a number from 0")


def positive(name: str, *, maximum: float | None = None) -> float | None:
    """Return a number above 0."""
    limit = "" if maximum is None else f", up to {maximum}"
    check = validate.Range(0, maximum, min_inclusive=False)
    return _number(_env.float, name, check, f"must be a number above 0{limit}")


def choice(name: str, words: Sequence[W]) -> W | None:
    """Return the one of *words* that equals the variable, ignoring case."""
    value = text(name)
    if value is None:
        return None
    for word in words:
        if word.lower() == value.lower():
            return word
    raise _refusal(name, value, f"must be one of {', '.join(words)}")


def words(name: str) -> tuple[str, ...] | None:
    """Return the words of a comma-separated list."""
    value = text(name)
    return None if value is None else tuple(word.strip() for word in value.split(",") if word.strip())


def path(name: str, exists: Callable[[Path], bool] = Path.exists) -> Path | None:
    """Return a path for which *exists* returns True."""
    value = text(name)
    if value is not None and not exists(Path(value)):
        raise _refusal(name, value, f"no such file in {Path.cwd()}")
    return None if value is None else Path(value)


def variable(read: Callable[..., object], name: str, default: Any = None, **limits: Any) -> Any:
    """Return a field of a dataclass for the variable *name*, read by *read* with *limits*.

    *default* is a value or a function that makes one. Secrets are not in the repr.
    """
    kind = {"default_factory" if callable(default) else "default": default}
    return field(**kind, repr=read is not secret, metadata={"read": partial(read, name, **limits)})


def variables_of(cls: type[Any]) -> dict[str, Any]:
    """Return the values of the fields of *cls* whose variables are set."""
    return given({each.name: each.metadata["read"]() for each in fields(cls) if "read" in each.metadata})


def _refusal(name: str, value: object, reason: str) -> SettingsError:
    return SettingsError(f"{name}={_without_passwords(str(value))!r}: {reason}")


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* without unset ones, so that the defaults of the fields apply."""
    return {name: value for name, value in values.items() if value is not None}


def _raw(name: str) -> str | None:
    value = os.environ.get(name, "")
    return value if value.strip() else None


def _number(parse: Callable[..., T | None], name: str, check: validate.Range, expected: str) -> T | None:
    value = text(name)
    try:
        return None if value is None else parse(name, validate=check)
    except EnvError:
        raise _refusal(name, value, expected) from None


def _without_passwords(value: str) -> str:
    return re.sub(r"(://[^\s\"?]*)\?[^\s\"]*", r"\1?***", re.sub(r"//[^/@\s]*@", "//***@", value))


def delivery_limits() -> dict[str, Any]:
    """Return the limits of delivery that are set, as keyword arguments of ``broker.connect``."""
    limits = {
        "lease_seconds": positive("WORKER_LEASE_SECONDS"),
        "max_deliveries": integer("MAX_DELIVERIES", minimum=1),
        "max_dead_letters": integer("MAX_DEAD_LETTERS", minimum=1),
        "dead_letter_seconds": integer("DEAD_LETTER_TTL_SECONDS", minimum=1),
    }
    return given(limits)
