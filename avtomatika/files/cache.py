"""Objects that were fetched before, on this worker's disk: what many tasks ask for is fetched once.

An entry goes by place, ETag and size, all of them the server's word: what a client says of its own object (a SHA-256,
say) must never bring it another's. Its name begins with the digest of its URI, by which orchestrators know it. Each
task gets a copy of its own, which it may change as it likes. The folder may be shared by processes and workers; where
anything is wrong with it, things are as without it.
"""

from __future__ import annotations

import heapq
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from time import sleep, time
from typing import TYPE_CHECKING

from avtomatika.core.placement.cached_files import DIGEST_LENGTH, MOST_FILES, digest_of

from .locks import LOCK_FILE, try_lock
from .transfer_progress import Cancellation

if TYPE_CHECKING:
    from .s3_transfer import ObjectInfo

logger = logging.getLogger(__name__)

#: Together, where nobody says otherwise.
CACHE_BYTES = 10 * 1024**3
#: An object is kept only if so many of its size would fit.
_SHARE = 4
#: Smaller ones are fetched as quickly as they are found here.
_LEAST_BYTES = 64 * 1024
#: Copied at a time, between two looks at whether anybody still wants it.
_COPY_BYTES = 64 * 1024 * 1024
#: How often somebody who waits for another's download looks.
_LOOK_SECONDS = 0.05
#: What a killed worker left unfinished is removed after so long.
_LEFT_SECONDS = 24 * 3600.0
#: Length of an entry's name.
_NAME_LENGTH = 64


class Cache:
    """*limit_bytes* of entries in the folder *path*, those that were not used for the longest time go first."""

    def __init__(self, path: str | os.PathLike[str], *, limit_bytes: int = CACHE_BYTES) -> None:
        self.path = Path(os.path.abspath(path))
        self._limit_bytes = limit_bytes
        self._seen_ns = 0
        self._newest: tuple[str, ...] = ()

    def bring(
        self,
        found: ObjectInfo,
        path: Path,
        download: Callable[[Path, Path], None],
        *,
        unfinished: Path,
        cancellation: Cancellation,
    ) -> bool:
        """Have what is *found* at *path*, unfinished in *unfinished*; answers False where it cannot come from here.

        Where nobody has fetched it yet, ``download(target, folder)`` does, with an unfinished file in that folder.
        """
        if found.size < _LEAST_BYTES or found.size * _SHARE > self._limit_bytes or not self._is_ready():
            return False
        copying = _Copying(self._entry(found), unfinished / token_hex(8), path, found.size, cancellation)
        if copying.is_done():
            return True
        with self._alone(copying.entry, cancellation) as is_alone:
            if not is_alone:
                return False
            if copying.is_done():
                return True
            self._make_room(found.size)
            if shutil.disk_usage(self.path).free < 2 * found.size:
                return False
            download(copying.entry, self.path)
            with suppress(FileNotFoundError):  # another process made room
                copying.entry.chmod(0o400)
            return copying.is_done()

    def holds(self, found: ObjectInfo) -> bool:
        """Whether it is here."""
        return self._entry(found).exists()

    def newest(self) -> tuple[str, ...]:
        """Digests of the files that are here, those that were used last first. Looks only when some came or went."""
        try:
            changed_ns = self.path.stat().st_mtime_ns
            if changed_ns != self._seen_ns:
                entries = [(each.stat().st_mtime, each.name) for each in os.scandir(self.path) if _is_entry(each.name)]
                names = [name[:DIGEST_LENGTH] for _, name in heapq.nlargest(MOST_FILES, entries)]
                self._newest, self._seen_ns = tuple(dict.fromkeys(names)), changed_ns
        except OSError:  # not there yet, or an entry went meanwhile
            pass
        return self._newest

    def _entry(self, found: ObjectInfo) -> Path:
        where = f"{found.location}\n{found.etag}\n{found.size}"
        name = digest_of(str(found.location)) + sha256(where.encode(errors="surrogatepass")).hexdigest()
        return self.path / name[:_NAME_LENGTH]

    def _is_ready(self) -> bool:
        """The folder is there, is no link, and is ours alone."""
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            status = os.lstat(self.path)
        except OSError as error:
            logger.warning("the cache %s cannot be used: %s", self.path, error.strerror)
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            logger.warning("the cache %s cannot be used: it is no folder of our own", self.path)
            return False
        return True

    @contextmanager
    def _alone(self, entry: Path, cancellation: Cancellation) -> Iterator[bool]:
        """While nobody else fetches *entry*; False where that cannot be told."""
        lock = entry.with_suffix(".lock")
        try:
            while (descriptor := _try_lock_file(lock)) is None:
                cancellation.check()
                sleep(_LOOK_SECONDS)
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
        """Remove what was not used for the longest time, and what was left unfinished long ago."""
        entries = []
        for each in os.scandir(self.path):
            with suppress(FileNotFoundError):
                status = each.stat(follow_symlinks=False)
                if _is_entry(each.name):
                    entries.append((status.st_mtime, status.st_size, each.path))
                elif time() - status.st_mtime > _LEFT_SECONDS and stat.S_ISREG(status.st_mode):
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
    """A descriptor that holds the lock; None if another process holds it, or has removed the file since."""
    try:
        return try_lock(path, LOCK_FILE)
    except FileNotFoundError:
        if path.parent.is_dir():
            return None
        raise


@dataclass(frozen=True, slots=True)
class _Copying:
    """What is needed to have a copy of *entry*, of that size, at *path*."""

    entry: Path
    part: Path
    path: Path
    size: int
    cancellation: Cancellation

    def is_done(self) -> bool:
        """Whether the copy is there now; False where there is no entry of that size."""
        try:
            source = os.open(self.entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if os.fstat(source).st_size != self.size:
                return False
            with self.part.open("wb") as target:
                _copy(source, target.fileno(), self.size, self.cancellation)
            with suppress(OSError):
                os.utime(self.entry)
            os.replace(self.part, self.path)
            return True
        finally:
            os.close(source)
            self.part.unlink(missing_ok=True)


def _copy(source: int, target: int, size: int, cancellation: Cancellation) -> None:
    """By the kernel, which on some file systems shares the blocks until one is changed."""
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
