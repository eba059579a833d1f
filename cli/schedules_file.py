"""The schedules of a schedules.toml, read again when it changes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from avtomatika.core.schedule import Schedule
from avtomatika.tokens.reloading_toml import ReloadingToml


def schedules_of_file(path: Path) -> Callable[[], Mapping[str, Schedule] | None]:
    """Return a function that returns the schedules of *path* by name, None while there is no such file.

    Raises SettingsError if the file is invalid; a later version that is invalid is logged and not used.
    """
    file = ReloadingToml(path, _add, fixed={}, what="schedules", clock=monotonic, has_secrets=False)

    return lambda: known if (known := file.contents.known) or file.is_loaded else None


def _add(name: str, section: dict[str, Any], known: dict[str, Schedule]) -> None:
    known[name] = Schedule.of(name, section)
