"""Cache of downloaded objects on this worker's disk: an object that many tasks need is downloaded once.

An entry is identified by location, ETag and size, all stated by the server: metadata that a client sets on its object
(such as a SHA-256) must never give it another client's object. An entry's name starts with the digest of its URI, by
which orchestrators know it. Each task gets its own copy, which it may change. Processes and workers may share the
folder. If it cannot be used, tasks download without it.
"""

import heapq
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from time import sleep, time

from avtomatika.core.placement.cached_files import DIGEST_LENGTH, MOST_FILES, digest_of
from avtomatika.local_files import LOCK_FILE, replacing, try_lock

from .s3_client import ObjectInfo
from .transfer_progress import Cancellation

logger = logging.getLogger(__name__)

#: Default size of the cache.
CACHE_BYTES = 10 * 1024**3
#: An object is cached only if this many of its size would fit.
_SHARE = 4
#: Smaller objects are not cached: a download takes as long as a copy.
_LEAST_BYTES = 64 * 1024
#: Bytes copied between two checks for cancellation.
_COPY_BYTES = 64 * 1024 * 1024
#: Interval at which a task that waits for the download by another one checks the lock.
_POLL_SECONDS = 0.05
#: Unfinished files of killed workers are removed at this age.
_LEFTOVER_SECONDS = 24 * 3600.0
#: Length of an entry's name.
_NAME_LENGTH = 64


class Cache:
    """Up to *limit_bytes* of entries in the folder *path*; the least recently used are evicted first."""

    def __init__(self, path: str | os.PathLike[str], *, limit_bytes: int = CACHE_BYTES) -> None:
        self.path = Path(os.path.abspath(path))
        self._limit_bytes = limit_bytes
        self._seen_ns = 0
        self._newest: tuple[str, ...] = ()

    def copy_to(
        self,
        path: Path,
        found: ObjectInfo,
        download: Callable[[Path, Path], None],
        *,
        unfinished: Path,
        cancellation: Cancellation,
    ) -> bool:
        """Copy the object *found* to *path* by way of the folder *unfinished*; return False if it cannot be cached.

        If the cache lacks it, ``download(target, folder)`` downloads it to *target*, with unfinished files in *folder*.
        """
        if found.size < _LEAST_BYTES or found.size * _SHARE > self._limit_bytes or not self._is_ready():
            return False
        entry = self._entry(found)
        try_copy = partial(_try_copy, entry, path, unfinished / token_hex(8), found.size, cancellation)
        if try_copy():
            return True
        with self._locked(entry, cancellation) as is_locked:
            if not is_locked:
                return False
            if try_copy():
                return True
            self._make_room(found.size)
            if shutil.disk_usage(self.path).free < 2 * found.size:
                return False
            download(entry, self.path)
            with suppress(FileNotFoundError):  # another process evicted it
                entry.chmod(0o400)
            return try_copy()

    def newest(self) -> tuple[str, ...]:
        """Return the digests of the entries, most recently used first; rescan only if entries came or went."""
        try:
            changed_ns = self.path.stat().st_mtime_ns
            if changed_ns != self._seen_ns:
                entries = [(each.stat().st_mtime, each.name) for each in os.scandir(self.path) if _is_entry(each.name)]
                names = [name[:DIGEST_LENGTH] for _, name in heapq.nlargest(MOST_FILES, entries)]
                self._newest, self._seen_ns = tuple(dict.fromkeys(names)), changed_ns
        except OSError:  # the folder does not exist yet, or an entry was evicted just now
            pass
        return self._newest

    def _entry(self, found: ObjectInfo) -> Path:
        where = f"{found.location}\n{found.etag}\n{found.size}"
        name = digest_of(str(found.location)) + sha256(where.encode(errors="surrogatepass")).hexdigest()
        return self.path / name[:_NAME_LENGTH]

    def _is_ready(self) -> bool:
        """Create the folder; return whether it is a folder, not a link, and belongs to this user."""
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            status = os.lstat(self.path)
        except OSError as error:
            logger.warning("the cache %s cannot be used: %s", self.path, error.strerror)
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            logger.warning("the cache %s cannot be used: it is not a folder of this user", self.path)
            return False
        return True

    @contextmanager
    def _locked(self, entry: Path, cancellation: Cancellation) -> Iterator[bool]:
        """Hold the lock of *entry* during its download; yield False if the lock file cannot be opened."""
        lock = entry.with_suffix(".lock")
        try:
            while (descriptor := _try_lock_file(lock)) is None:
                cancellation.check()
                sleep(_POLL_SECONDS)
        except OSError as error:
            logger.warning("the cache %s cannot be used: %s", self.path, error.strerror)
            yield False
            return
        try:
            yield True
        finally:
            with suppress(OSError):
                lock.unlink()
            os.close(descriptor)

    def _make_room(self, size: int) -> None:
        """Evict the least recently used entries, and remove old unfinished files."""
        entries = []
        for each in os.scandir(self.path):
            with suppress(FileNotFoundError):
                status = each.stat(follow_symlinks=False)
                if _is_entry(each.name):
                    entries.append((status.st_mtime, status.st_size, each.path))
                elif time() - status.st_mtime > _LEFTOVER_SECONDS and stat.S_ISREG(status.st_mode):
                    os.unlink(each.path)
        used = sum(entry_size for _, entry_size, _ in entries)
        for _, entry_size, path in sorted(entries):
            if used + size <= self._limit_bytes:
                return
            with suppress(FileNotFoundError):
                os.unlink(path)
            used -= entry_size


def _is_entry(name: str) -> bool:
    return "." not in name and len(name) == _NAME_LENGTH


def _try_lock_file(path: Path) -> int | None:
    """Return a descriptor that holds the lock; None if another process holds it, or removed the file just now."""
    try:
        return try_lock(path, LOCK_FILE)
    except FileNotFoundError:
        if path.parent.is_dir():
            return None
        raise


def _try_copy(entry: Path, path: Path, unfinished: Path, size: int, cancellation: Cancellation) -> bool:
    """Copy *entry* to *path*; return False if it is missing or has another size."""
    try:
        source = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(source).st_size != size:
            return False
        with replacing(path, unfinished) as part:
            with part.open("wb") as target:
                _copy(source, target.fileno(), size, cancellation)
            with suppress(OSError):
                os.utime(entry)
        return True
    finally:
        os.close(source)


def _copy(source: int, target: int, size: int, cancellation: Cancellation) -> None:
    """Copy in the kernel, which on some file systems shares the blocks until one is changed."""
    left = size
    try:
        while left:
            cancellation.check()
            copied = os.copy_file_range(source, target, min(left, _COPY_BYTES))
            if copied == 0:
                break
            left -= copied
    except OSError:
        os.ftruncate(target, 0)
        os.lseek(target, 0, os.SEEK_SET)
        os.lseek(source, 0, os.SEEK_SET)
        with os.fdopen(os.dup(source), "rb") as reader, os.fdopen(os.dup(target), "wb") as writer:
            shutil.copyfileobj(reader, writer, 1024 * 1024)
