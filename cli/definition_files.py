"""The schedules of a schedules.toml and the limits of a limits.toml, read again when the file changes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from avtomatika.core.limits import KINDS, LimitValues, limit_name
from avtomatika.core.schedule import Schedule
from avtomatika.errors import InvalidRequestError, SettingsError
from avtomatika.tokens.reloading_toml import AddSection, ReloadingToml

T = TypeVar("T")
#: Returns the contents of a file by name, None while there is no such file.
ReadFile = Callable[[], Mapping[str, T] | None]


def schedules_of_file(path: Path) -> ReadFile[Schedule]:
    """Return a function that returns the schedules of *path* by name.

    Raises SettingsError if the file is invalid; a later version that is invalid is logged and not used.
    """
    return _reading(path, _add_schedule, "schedules")


def limits_of_file(path: Path) -> ReadFile[LimitValues]:
    """As :func:`schedules_of_file` for limits; their names are such as ``skill:encode``."""
    return _reading(path, _add_limits, "limits")


def _reading(path: Path, add: AddSection[T], what: str) -> ReadFile[T]:
    file = ReloadingToml(path, add, fixed={}, what=what, clock=monotonic, has_secrets=False)

    return lambda: known if (known := file.contents.known) or file.is_loaded else None


def _add_schedule(name: str, section: dict[str, Any], known: dict[str, Schedule]) -> None:
    known[name] = Schedule.of(name, section)


def _add_limits(section: str, limits: dict[str, Any], known: dict[str, LimitValues]) -> None:
    kinds = {f"{kind}s": kind for kind in KINDS}
    if section not in kinds:
        raise SettingsError(f"[{section}] is not one of the sections {', '.join(kinds)}")
    for name, given in limits.items():
        try:
            known[limit_name(kinds[section], name)] = LimitValues.of(**given)
        except (InvalidRequestError, TypeError) as error:
            reason = error if isinstance(error, InvalidRequestError) else "must have concurrency, rate, or both"
            raise SettingsError(f"[{section}.{name}]: {reason}") from None
