"""The spool: results whose origin is away, on disk until they are sent. What is in it survives the worker.

Each worker has a folder of its own in it, and holds a lock on that. A folder that nobody holds was left by a worker
that has ended: whoever starts next takes it over. Of tokens nothing is ever written here.
"""

from __future__ import annotations

import contextlib
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
from avtomatika.files.locks import is_at, try_lock
from avtomatika.files.safe_names import safe_part

logger = logging.getLogger(__name__)

#: How much it may hold, of all workers that share it.
MAX_BYTES = 256 * 1024 * 1024
_SUFFIX = ".json"
#: Of a result that is being written.
_UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class SpooledResult:
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
        self._worker_id = worker_id
        self._max_bytes = max_bytes
        self._own: Path | None = None
        self._locks: dict[Path, int] = {}
        self._left: list[SpooledResult] | None = None
        self._lock = threading.Lock()

    def shelf(self, origin: str) -> SpoolPartition:
        """The part of it whose results go to *origin*."""
        return SpoolPartition(self, origin)

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
            if place.parent != self._own and place.parent in self._locks:
                self._let_go(place.parent)

    def left(self, origin: str) -> list[SpooledResult]:
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
            while self._locks:
                os.close(self._locks.popitem()[1])
            self._own = None

    # ------------------------------------------------------------ inside; the lock is held

    def _own_folder(self) -> Path:
        """Created when first needed, and again if somebody removed it."""
        if self._own is not None and not is_at(self._locks[self._own], self._own):
            os.close(self._locks.pop(self._own))
            self._own = None
        while self._own is None:
            folder = self._path / f"{self._worker_id}.{token_hex(4)}"
            folder.mkdir(mode=0o700, parents=True)
            if self._take(folder):  # a worker that starts may have been faster, and removes what is empty
                self._own = folder
        return self._own

    def _adopt(self) -> list[SpooledResult]:
        found: list[SpooledResult] = []
        for folder in _folders(self._path):
            try:
                if folder == self._own or not self._take(folder):
                    continue
                for unfinished in folder.glob(f"*{_UNFINISHED}"):
                    unfinished.unlink()
            except OSError as error:
                logger.error("results in %s cannot be taken over: %s", folder, error)
                continue
            found += [kept for place in sorted(folder.glob(f"*{_SUFFIX}")) if (kept := _read(place)) is not None]
            self._let_go(folder)
        return found

    def _take(self, folder: Path) -> bool:
        """Whether the folder exists and is ours from now on. Raises OSError if it cannot be locked."""
        try:
            descriptor = try_lock(folder)
        except FileNotFoundError:
            return False
        if descriptor is None:
            return False
        self._locks[folder] = descriptor
        return True

    def _let_go(self, folder: Path) -> None:
        """Remove a folder that has nothing in it any more."""
        with contextlib.suppress(OSError):
            folder.rmdir()
            if (descriptor := self._locks.pop(folder, None)) is not None:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class SpoolPartition:
    """What *spool* holds for one origin."""

    spool: Spool
    origin: str

    def keep(self, task_id: str, attempt: int, content: Mapping[str, Any]) -> Path | None:
        return self.spool.keep(self.origin, task_id, attempt, content)

    def drop(self, place: Path) -> None:
        self.spool.drop(place)

    def left(self) -> list[SpooledResult]:
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
    unfinished = place.with_suffix(_UNFINISHED)
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


def _read(place: Path) -> SpooledResult | None:
    try:
        value = orjson.loads(place.read_bytes())
        if value["v"] != 1:
            raise ValueError(f"version {value['v']!r}")
        return SpooledResult(
            str(value["origin"]), str(value["task_id"]), int(value["attempt"]), dict(value["content"]), place
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.error("%s is no result that was spooled (%s); it stays where it is", place, error)
        return None


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    """Bytes of all results in the spool at *path*; other workers add and remove some meanwhile."""
    size = 0
    for folder in _folders(path):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
    return size
