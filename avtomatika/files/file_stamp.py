"""Detects whether a skill changed an input: an unchanged one is not uploaded again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from .location import Location


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Equal stamps mean that the file was not written to in between."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Origin:
    """The location of an input, and the stamps of its files after the download by relative path ("" for an object)."""

    location: Location
    files: Mapping[str, FileStamp]
