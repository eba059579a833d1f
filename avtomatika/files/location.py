"""Where a file lies in S3, as ``s3://bucket/key`` says it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_URI = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,62})/(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """An object, or with a *key* that is empty or ends in ``/`` a folder: all objects whose keys begin with it."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Location | None:
        """The location that *text* is, all of it; None where it is anything else. A key stands there as it is.

        >>> Location.parse("s3://films/a b/ü.mp4")
        Location(bucket='films', key='a b/ü.mp4')
        >>> Location.parse("see s3://films/a.mp4") is Location.parse("s3://films") is None
        True
        """
        match = _URI.fullmatch(text)
        return None if match is None else cls(match[1], match[2])

    @property
    def is_folder(self) -> bool:
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
