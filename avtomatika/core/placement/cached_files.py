"""Holdings: which files in S3 workers have at hand, and which of them a task names.

They go by short digests of their URIs, which tell nobody what they are. Two files may have the same one: all that comes
of it is that a task goes to a worker that has to fetch its file after all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice

from avtomatika.core.job import Json
from avtomatika.core.texts import texts_in

#: Most files that a worker tells of, and that are looked for of one task.
MOST_FILES = 256
#: Length of a digest, in hexadecimal digits.
DIGEST_LENGTH = 12


def digest_of(uri: str) -> str:
    """What the file at *uri* goes by.

    >>> digest_of("s3://raw/lake.mov")
    '3e8d70f474b0'
    """
    return sha256(uri.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]


def names_files(params: Mapping[str, Json]) -> bool:
    """Whether there is a file in S3 among *params*.

    >>> names_files({"films": ["s3://raw/lake.mov"]}), names_files({"folder": "s3://raw/"})
    (True, False)
    """
    return next(_files_in(params), None) is not None


def digests_in(params: Mapping[str, Json]) -> frozenset[str]:
    """Those of the files that *params* name; of many the first."""
    return frozenset(digest_of(uri) for uri in islice(_files_in(params), MOST_FILES))


def _files_in(params: Mapping[str, Json]) -> Iterator[str]:
    """URIs; folders are none, for what lies in one is not known here."""
    return (text for text in texts_in(params) if text.startswith("s3://") and not text.endswith("/"))
