"""A TOML file of sections, reloaded when it changes: secrets, or schedules.

A file that was replaced (renamed over the old one) takes effect at once. One that is edited in place takes effect when
it has stopped changing, because it may be half written. One that is missing or invalid never takes effect, nor one of
secrets that is empty.
"""

import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time
from typing import Any, Generic, NamedTuple, TypeVar

from avtomatika.errors import InvalidRequestError, SettingsError

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Minimum interval between two checks of the file.
CHECK_INTERVAL_SECONDS = 1.0
#: A file that is edited in place takes effect after this long without a change.
SETTLE_SECONDS = 3.0
#: The top-level key that revokes all tokens.
REVOKE_ALL = "revoke_all"
#: Takes a section by its name and value, and adds it to the result of the sections before it.
AddSection = Callable[[str, Any, dict[str, T]], None]


@dataclass(frozen=True, slots=True)
class Contents(Generic[T]):
    """The sections of one version of the file; with ``revoke_all`` it has none."""

    known: Mapping[str, T]
    revokes_all: bool = False


class _Signature(NamedTuple):
    """Two versions of a file that have the same signature are the same version."""

    mtime_ns: int
    inode: int
    size: int


class ReloadingToml(Generic[T]):
    """The sections of the file at *path*, each read by *add*; *what* names them in messages. Thread-safe."""

    def __init__(
        self,
        path: Path,
        add: AddSection[T],
        *,
        fixed: Mapping[str, T],
        what: str,
        clock: Callable[[], float],
        has_secrets: bool = True,
    ) -> None:
        """*fixed* is added to every version. The file may be created later. Raises SettingsError if it is invalid."""
        self._path = path
        self._add = add
        self._fixed = fixed
        self._what = what
        self._clock = clock
        self._has_secrets = has_secrets
        self._checking = Lock()
        #: The version seen last, whether it has been dealt with, and when it takes effect otherwise.
        self._seen = _signature_of(path)
        self._is_settled = True
        self._due = 0.0
        self._checked_at = clock()
        #: True once a version of the file is in effect.
        self.is_loaded = self._seen is not None
        self._problem: str | None = None
        self._contents = self._read() if self.is_loaded else Contents(fixed)

    @property
    def contents(self) -> Contents[T]:
        """The version in effect."""
        self._check_sometimes()
        return self._contents

    @property
    def problem(self) -> str | None:
        """The reason why the current file is not in effect; None if it is."""
        self._check_sometimes()
        return self._problem

    def _check_sometimes(self) -> None:
        """Check for changes, at most once a second. One thread does it, the others do not wait."""
        if self._clock() - self._checked_at >= CHECK_INTERVAL_SECONDS and self._checking.acquire(blocking=False):
            try:
                self._checked_at = self._clock()
                self._check()
            finally:
                self._checking.release()

    def _check(self) -> None:
        signature, now = _signature_of(self._path), self._clock()
        if signature != self._seen:
            before, self._seen, self._is_settled = self._seen, signature, False
            is_replaced = before is not None and signature is not None and signature.inode != before.inode
            self._due = now if is_replaced else now + SETTLE_SECONDS - _unchanged_seconds(signature)
        if self._is_settled:
            return
        try:
            contents = self._read()
        except SettingsError as error:
            self._is_settled = True
            self._problem = str(error)
            logger.error("%s; the %s loaded before stay in effect", error, self._what)
            return
        if now >= self._due:
            self._is_settled, self.is_loaded, self._problem = True, True, None
            self._contents = contents
            logger.info("loaded %s: %d %s", self._path, len(contents.known), self._what)

    def _read(self) -> Contents[T]:
        path = self._path
        try:
            if self._has_secrets:
                _warn_if_readable_by_others(path)
            text = path.read_text(encoding="utf-8")
            sections = tomllib.loads(text)
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from None
        known = dict(self._fixed)
        revokes_all = False
        for name, section in sections.items():
            try:
                if isinstance(section, dict):
                    self._add(name, section, known)
                elif name != REVOKE_ALL or not self._has_secrets:
                    raise SettingsError(f"{name!r} must be a section, [{name}]")
                elif not isinstance(section, bool):
                    raise SettingsError(f"{REVOKE_ALL} is {section!r}, but must be true or false")
                else:
                    revokes_all = section
            except (SettingsError, InvalidRequestError) as error:
                raise SettingsError(f"{path}, line {_line_of(name, text)}: {error}") from None
        if revokes_all:
            return Contents(self._fixed, revokes_all=True)
        if self._has_secrets and len(known) == len(self._fixed):
            raise SettingsError(f"{path}: it names no {self._what}; to revoke all of them, write {REVOKE_ALL} = true")
        return Contents(known)


def _signature_of(path: Path) -> _Signature | None:
    """Return None for a file that does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Signature(status.st_mtime_ns, status.st_ino, status.st_size)


def _unchanged_seconds(signature: _Signature | None) -> float:
    """Return the time since the last change, by the clock of this host; at most ``SETTLE_SECONDS``."""
    age = 0.0 if signature is None else time() - signature.mtime_ns / 1e9
    return min(max(age, 0.0), SETTLE_SECONDS)


def _line_of(name: str, text: str) -> int:
    """Return the line number, from 1, of the section or key called *name*."""
    word = re.escape(name)
    begin = re.compile(rf"""\s*(\[\s*["']?{word}["']?\s*[].]|["']?{word}["']?\s*[=.])""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if begin.match(line)), 1)


def _warn_if_readable_by_others(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        logger.warning("%s holds secrets and can be read by all users of this host: chmod o-r it", path)
