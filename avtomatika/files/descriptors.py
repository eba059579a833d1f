"""Files for s3transfer, read by descriptor: in parts, from several threads, without a copy in memory.

s3transfer opens files by name, once for each part. An upload must be the file that was checked, so nothing is opened
again: the "name" is that of a descriptor.
"""

import os
from types import TracebackType
from typing import Any, Self

from s3transfer.utils import OSUtils

_MARK = "descriptor:"


def name_of(descriptor: int) -> str:
    """Return the name under which :class:`Descriptors` opens an open descriptor."""
    return f"{_MARK}{descriptor}"


class Descriptors(OSUtils):  # type: ignore[misc] # s3transfer has no types
    """File access of s3transfer."""

    def get_file_size(self, filename: str) -> int:
        return os.fstat(_descriptor(filename)).st_size

    def open(self, filename: str, mode: str) -> Any:
        return View(_descriptor(filename))


class View:
    """Reads an open file with a separate position; closing the view does not close the file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def read(self, amount: int | None = None) -> bytes:
        if amount is None or amount < 0:
            amount = max(os.fstat(self._descriptor).st_size - self._at, 0)
        piece = os.pread(self._descriptor, amount, self._at)
        self._at += len(piece)
        return piece

    def seek(self, where: int, whence: int = os.SEEK_SET) -> None:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._at = base + where

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Leave the descriptor open for its owner."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _descriptor(name: str) -> int:
    return int(name.removeprefix(_MARK))
