"""The location of an object or folder in S3: ``s3://bucket/key``; and the locations from which local files came."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from avtomatika.errors import InvalidInputError

_URI = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})/(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """An object; or, if *key* is empty or ends in ``/``, the folder of all objects whose keys start with it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the location that *text* consists of, else None. Keys are not percent-encoded.

        >>> Location.parse("s3://films/a b/ü.mp4")
        Location(bucket='films', key='a b/ü.mp4')
        >>> Location.parse("see s3://films/a.mp4") is Location.parse("s3://films") is None
        True
        """
        match = _URI.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    @classmethod
    def of(cls, uri: str) -> Self:
        """As :meth:`parse`. Raise InvalidInputError for any other text."""
        location = cls.parse(uri)
        if location is None:
            raise InvalidInputError(f"{uri!r} is not of the form s3://bucket/key")
        return location

    @property
    def is_folder(self) -> bool:
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


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
