"""Opens files that a skill named without ever following a link, so that nothing outside a folder is read.

The checked file is the one that is read: everything works on the descriptor, nothing is opened a second time.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from avtomatika.errors import PermanentError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # opening a FIFO must not block

_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@contextmanager
def open_below(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Yield a descriptor of the regular file or folder at the path *parts* below *root*, which must not be a link.

    Raise FileNotFoundError if it does not exist, PermanentError if it is neither a file nor a folder.
    """
    descriptor = os.open(root, _FLAGS | os.O_DIRECTORY)
    try:
        device = os.fstat(descriptor).st_dev
        for number, part in enumerate(parts, start=1):
            path = "/".join([root, *parts[:number]])
            below = _open(part, descriptor, path, is_last=number == len(parts))
            above, descriptor = descriptor, below
            os.close(above)
        _check(os.fstat(descriptor), "/".join([root, *parts]), device)
        yield descriptor
    finally:
        os.close(descriptor)


def files_below(folder: int, path: str) -> Iterator[str]:
    """Yield the relative paths of all files in the open *folder*, sorted; *path* is its name in messages.

    Raise PermanentError for entries that are neither files nor folders.
    """
    for name in sorted(os.listdir(folder)):
        inner = f"{path}/{name}"
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            descriptor = _open(name, folder, inner, is_last=False)
            try:
                yield from (f"{name}/{below}" for below in files_below(descriptor, inner))
            finally:
                os.close(descriptor)
        else:
            _check(status, inner, status.st_dev)
            yield name


def _open(part: str, folder: int, path: str, *, is_last: bool) -> int:
    try:
        return os.open(part, _FLAGS if is_last else _FLAGS | os.O_DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:  # a link, or a file where a folder should be
        status = os.stat(part, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and not is_last:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        _check(status, path, status.st_dev)
        raise PermanentError(f"{path!r} cannot be read: {error.strerror}") from None


def _check(status: os.stat_result, path: str, device: int) -> None:
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            raise PermanentError(f"{path!r} is {words}: only files and folders are uploaded")
    if stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
        raise PermanentError(
            f"{path!r} is a hard link: it has {status.st_nlink} names, and may be a file of another folder"
        )
    if status.st_dev != device:
        raise PermanentError(f"{path!r} is on another file system than the payload folder")
