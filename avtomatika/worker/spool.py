"""The spool: results whose origin is away, on disk until they are sent. What is in it survives the worker.

Each worker has a folder of its own in it, and holds a lock on that. A folder that nobody holds was left by a worker
that has ended: whoever starts next takes it over. Of tokens nothing is ever written here.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import SettingsError
from avtomatika.files.names import safe_part

logger = logging.getLogger(__name__)

#: How much it may hold, of all workers that share it.
MAX_BYTES = 256 * 1024 * 1024
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A result on disk at *place*; *content* is what sends it to *origin*, as its courier wrote it."""

    origin: str
    task_id: str
    attempt: int
    content: Mapping[str, Json]
    place: Path


class Spool:
    """Lies at *path*, which is made when it is first needed. Threads may share it."""

    def __init__(self, path: str | os.PathLike[str], *, worker_id: str, max_bytes: int = MAX_BYTES) -> None:
        self._path = Path(os.path.abspath(path))
        self._name = f"{worker_id}.{token_hex(4)}"
        self._max_bytes = max_bytes
        self._own: Path | None = None
        self._locks: dict[Path, int] = {}
        self._left: list[Kept] | None = None
        self._lock = threading.Lock()

    def shelf(self, origin: str) -> Shelf:
        """The part of it whose results go to *origin*."""
        return Shelf(self, origin)

    def keep(self, origin: str, task_id: str, attempt: int, content: Mapping[str, Any]) -> Path | None:
        """Where a result lies now, safe from a crash; None where it cannot be kept, which is told to the log."""
        text = orjson.dumps(
            {"v": 1, "origin": origin, "task_id": task_id, "attempt": attempt, "content": dict(content)}
        )
        with self._lock:
            try:
                folder = self._own_folder()
                if _size(self._path) + len(text) > self._max_bytes:
                    logger.error("task %s: the spool %s is full; its result is in memory only", task_id, self._path)
                    return None
                return _write(folder / f"{safe_part(task_id)}.{attempt}{_SUFFIX}", text)
            except OSError as error:
                logger.error("task %s: its result cannot be spooled and is in memory only: %s", task_id, error)
                return None

    def drop(self, place: Path) -> None:
        """A result was sent."""
        with self._lock:
            place.unlink(missing_ok=True)
            if place.parent != self._own:
                self._let_go(place.parent)

    def left(self, origin: str) -> list[Kept]:
        """What workers that have ended left for *origin*; answered once."""
        with self._lock:
            if self._left is None:
                self._left = self._adopt()
            found = [kept for kept in self._left if kept.origin == origin]
            self._left = [kept for kept in self._left if kept.origin != origin]
        return found

    def close(self) -> None:
        """Leave what is still there to whoever starts next."""
        with self._lock:
            for folder in list(self._locks):
                self._let_go(folder)
            for descriptor in self._locks.values():
                os.close(descriptor)
            self._locks.clear()
            self._own = None

    # ------------------------------------------------------------ inside; the lock is held

    def _own_folder(self) -> Path:
        if self._own is None:
            folder = self._path / self._name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._take(folder):
                raise OSError(f"{folder} is somebody else's")
            self._own = folder
        return self._own

    def _adopt(self) -> list[Kept]:
        if not self._path.is_dir():
            return []
        folders = [entry for entry in self._path.iterdir() if entry.is_dir() and not entry.is_symlink()]
        return [
            kept
            for folder in sorted(folders)
            if folder != self._own and self._take(folder)
            for place in sorted(folder.glob(f"*{_SUFFIX}"))
            if (kept := _read(place)) is not None
        ]

    def _take(self, folder: Path) -> bool:
        """Whether the folder is ours from now on."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks[folder] = descriptor
        return True

    def _let_go(self, folder: Path) -> None:
        """Remove a folder that has nothing in it any more."""
        with contextlib.suppress(OSError):
            folder.rmdir()
            os.close(self._locks.pop(folder))


@dataclass(frozen=True, slots=True)
class Shelf:
    """What *spool* holds for one origin."""

    spool: Spool
    origin: str

    def keep(self, task_id: str, attempt: int, content: Mapping[str, Any]) -> Path | None:
        return self.spool.keep(self.origin, task_id, attempt, content)

    def drop(self, place: Path) -> None:
        self.spool.drop(place)

    def left(self) -> list[Kept]:
        return self.spool.left(self.origin)


def check_apart(name: str, folder: str, payload_dir: str | None) -> None:
    """Raise SettingsError where *folder*, which the variable *name* says, lies in the payload folder, or that in it:
    tasks may send what is in the payload folder."""
    if payload_dir is None:
        return
    own, payload = Path(folder).resolve(), Path(payload_dir).resolve()
    if own.is_relative_to(payload) or payload.is_relative_to(own):
        raise SettingsError(f"{name}={folder!r} and WORKER_PAYLOAD_DIR={payload_dir!r}: neither may lie in the other")


def _write(place: Path, text: bytes) -> Path:
    """All of it or nothing, whatever happens meanwhile."""
    unfinished = place.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.replace(unfinished, place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return place


def _read(place: Path) -> Kept | None:
    try:
        value = orjson.loads(place.read_bytes())
        if value["v"] != 1:
            raise ValueError(f"version {value['v']!r}")
        return Kept(str(value["origin"]), str(value["task_id"]), int(value["attempt"]), dict(value["content"]), place)
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.error("%s is no result that was spooled (%s); it stays where it is", place, error)
        return None


def _size(folder: Path) -> int:
    return sum(place.stat().st_size for place in folder.glob(f"*/*{_SUFFIX}"))
