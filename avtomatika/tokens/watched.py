"""A TOML file of sections with secrets, read again when it changes."""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from avtomatika.errors import SettingsError

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: How often, at most, the file is looked at.
CHECK_INTERVAL_SECONDS = 1.0
#: When two of these are the same, so is the file: mtime, inode, size.
_Signature = tuple[int, int, int]
#: Takes a section by its name and value, and what the sections before it made, which it adds to.
AddSection = Callable[[str, Any, dict[str, T]], None]


class WatchedFile(Generic[T]):
    """What the sections of the file at *path* say, each read by *add*; *what* is the word for them.

    Threads may share it.
    """

    def __init__(
        self, path: Path, add: AddSection[T], *, fixed: Mapping[str, T], what: str, clock: Callable[[], float]
    ) -> None:
        """*fixed* is known besides. Raises SettingsError saying what is wrong where."""
        self._path = path
        self._add = add
        self._fixed = fixed
        self._what = what
        self._clock = clock
        self._signature = _signature(path)
        self._known = self._read()
        self._checked_at = clock()
        self._checking = Lock()

    @property
    def known(self) -> Mapping[str, T]:
        """All that is known now. One thread looks at the file, at most once a second; the others go on."""
        if self._clock() - self._checked_at >= CHECK_INTERVAL_SECONDS and self._checking.acquire(blocking=False):
            try:
                self._checked_at = self._clock()
                self._read_if_changed()
            finally:
                self._checking.release()
        return self._known

    def _read_if_changed(self) -> None:
        signature = _signature(self._path)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._known = self._read()
        except SettingsError as error:
            logger.error("%s; the %s known so far stay in force", error, self._what)
            return
        logger.info("%s was read again: %d %s", self._path, len(self._known), self._what)

    def _read(self) -> Mapping[str, T]:
        path = self._path
        try:
            text = path.read_text(encoding="utf-8")
            sections = tomllib.loads(text)
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from None
        _warn_if_readable_by_others(path)
        known = dict(self._fixed)
        for name, section in sections.items():
            try:
                if not isinstance(section, dict):
                    raise SettingsError(f"{name!r} must be a section, [{name}], with a token")
                self._add(name, section, known)
            except SettingsError as error:
                raise SettingsError(f"{path}, line {_line_of(name, text)}: {error}") from None
        return known


def _line_of(name: str, text: str) -> int:
    """Where the section, or the key, called *name* begins (from 1)."""
    word = re.escape(name)
    begin = re.compile(rf"""\s*(\[\s*["']?{word}["']?\s*[].]|["']?{word}["']?\s*[=.])""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if begin.match(line)), 1)


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _warn_if_readable_by_others(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        logger.warning("%s holds secrets and can be read by everybody on this host: chmod o-r it", path)
