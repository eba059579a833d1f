"""Spool: results on disk until their origin can be reached. They survive a crash of the worker.

Each worker writes to its own locked folder. A folder without a lock was left by a worker that has exited; the next
worker that starts adopts it. Tokens are never written here.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import SettingsError
from avtomatika.files.safe_names import safe_part
from avtomatika.local_files import is_at, try_lock, write_atomically

logger = logging.getLogger(__name__)

#: Maximum size, over all workers that share the spool.
MAX_BYTES = 256 * 1024 * 1024
#: Default time for which a result that is too large is kept.
RESULT_TTL_SECONDS = 604_800
_SUFFIX = ".json"
#: Suffix of a result that is being written.
_UNFINISHED = ".part"


@dataclass(frozen=True, slots=True)
class SpooledResult:
    """A result on disk at *path*; *content* was serialized by the sender for *origin*."""

    origin: str
    task_id: str
    attempt: int
    content: Mapping[str, Json]
    path: Path


class Spool:
    """A spool folder at *path*, created when first needed. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str], *, worker_id: str, max_bytes: int = MAX_BYTES) -> None:
        self._path = Path(os.path.abspath(path))
        self._worker_id = worker_id
        self._max_bytes = max_bytes
        self._own: Path | None = None
        self._locks: dict[Path, int] = {}
        self._orphaned: list[SpooledResult] | None = None
        self._lock = threading.Lock()

    def partition(self, origin: str) -> "SpoolPartition":
        """Return the part for results to *origin*."""
        return SpoolPartition(self, origin)

    def save(self, origin: str, task_id: str, attempt: int, content: Mapping[str, Any]) -> Path | None:
        """Write a result to disk and return its path; on failure log the error and return None."""
        text = orjson.dumps(
            {"v": 1, "origin": origin, "task_id": task_id, "attempt": attempt, "content": dict(content)}
        )
        with self._lock:
            try:
                folder = self._own_folder()
                if _size(self._path) + len(text) > self._max_bytes:
                    logger.error("task %s: the spool %s is full; its result stays in memory only", task_id, self._path)
                    return None
                path = folder / f"{safe_part(task_id)}.{attempt}{_SUFFIX}"
                write_atomically(path, text, path.with_suffix(_UNFINISHED), is_durable=True)
                return path
            except OSError as error:
                logger.error("task %s: cannot spool its result, which stays in memory only: %s", task_id, error)
                return None

    def remove(self, path: Path) -> None:
        """Remove a result that was sent."""
        with self._lock:
            path.unlink(missing_ok=True)
            if path.parent != self._own and path.parent in self._locks:
                self._remove_if_empty(path.parent)

    def take_orphaned(self, origin: str) -> list[SpooledResult]:
        """Return, once, the results for *origin* that exited workers left."""
        with self._lock:
            if self._orphaned is None:
                self._orphaned = self._adopt_orphaned()
            found = [spooled for spooled in self._orphaned if spooled.origin == origin]
            self._orphaned = [spooled for spooled in self._orphaned if spooled.origin != origin]
        return found

    def close(self) -> None:
        """Unlock the folders; the next worker adopts unsent results."""
        with self._lock:
            for folder in list(self._locks):
                self._remove_if_empty(folder)
            while self._locks:
                os.close(self._locks.popitem()[1])
            self._own = None

    # ------------------------------------------------------------ inside; the lock is held

    def _own_folder(self) -> Path:
        """Return this worker's folder; create it when first needed or after it was removed."""
        if self._own is not None and not is_at(self._locks[self._own], self._own):
            os.close(self._locks.pop(self._own))
            self._own = None
        while self._own is None:
            folder = self._path / f"{self._worker_id}.{token_hex(4)}"
            folder.mkdir(mode=0o700, parents=True)
            if self._lock_folder(folder):  # a starting worker may have removed the empty folder
                self._own = folder
        return self._own

    def _adopt_orphaned(self) -> list[SpooledResult]:
        found: list[SpooledResult] = []
        for folder in _folders(self._path):
            try:
                if folder == self._own or not self._lock_folder(folder):
                    continue
                for unfinished in folder.glob(f"*{_UNFINISHED}"):
                    unfinished.unlink()
            except OSError as error:
                logger.error("cannot adopt results in %s: %s", folder, error)
                continue
            found += [spooled for path in sorted(folder.glob(f"*{_SUFFIX}")) if (spooled := _read(path)) is not None]
            self._remove_if_empty(folder)
        return found

    def _lock_folder(self, folder: Path) -> bool:
        """Lock the folder; return False if it is missing or locked. Raises OSError."""
        try:
            descriptor = try_lock(folder)
        except FileNotFoundError:
            return False
        if descriptor is None:
            return False
        self._locks[folder] = descriptor
        return True

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove and unlock the folder if it is empty."""
        with contextlib.suppress(OSError):
            folder.rmdir()
            if (descriptor := self._locks.pop(folder, None)) is not None:
                os.close(descriptor)


class SpoolPartition:
    """The results in *spool* for one *origin*."""

    def __init__(self, spool: Spool, origin: str) -> None:
        self.save = partial(spool.save, origin)
        self.remove = spool.remove
        self.take_orphaned = partial(spool.take_orphaned, origin)


def check_separate(name: str, folder: str, payload_dir: str | None) -> None:
    """Raise SettingsError if *folder*, set by the variable *name*, overlaps the payload folder: tasks may upload any
    file in the payload folder."""
    if payload_dir is None:
        return
    own, payload = Path(folder).resolve(), Path(payload_dir).resolve()
    if own.is_relative_to(payload) or payload.is_relative_to(own):
        raise SettingsError(
            f"{name}={folder!r} and WORKER_PAYLOAD_DIR={payload_dir!r}: one folder must not contain the other"
        )


def _read(path: Path) -> SpooledResult | None:
    try:
        value = orjson.loads(path.read_bytes())
        if value["v"] != 1:
            raise ValueError(f"version {value['v']!r}")
        return SpooledResult(
            str(value["origin"]), str(value["task_id"]), int(value["attempt"]), dict(value["content"]), path
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.error("%s is not a valid spooled result (%s); leaving it there", path, error)
        return None


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _size(path: Path) -> int:
    """Return the bytes of all results in the spool at *path*, while other workers add and remove some."""
    size = 0
    for folder in _folders(path):
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
    return size
