"""Cached files: which files in S3 workers have locally, and which of them a task names.

Files are identified by short digests of their URIs, which do not reveal them. After a collision, a task is merely sent
to a worker that has to download its file.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice

from avtomatika.core.file_reference import references_in
from avtomatika.core.job import Json
from avtomatika.core.texts import texts_in

#: Maximum number of files that a worker reports, and that are considered of one task.
MOST_FILES = 256
#: Length of a digest, in hexadecimal digits.
DIGEST_LENGTH = 12


def digest_of(uri: str) -> str:
    """Return the digest of the file at *uri*.

    >>> digest_of("s3://raw/lake.mov")
    '3e8d70f474b0'
    """
    return sha256(uri.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]


def names_files(params: Mapping[str, Json]) -> bool:
    """Return True if *params* name a file in S3.

    >>> names_files({"films": ["s3://raw/lake.mov"]}), names_files({"folder": "s3://raw/"})
    (True, False)
    """
    return next(_files_in(params), None) is not None


def digests_in(params: Mapping[str, Json]) -> frozenset[str]:
    """Return the digests of the files that *params* name, at most MOST_FILES."""
    return frozenset(digest_of(uri) for uri in islice(_files_in(params), MOST_FILES))


def _files_in(params: Mapping[str, Json]) -> Iterator[str]:
    """Yield URIs of files; the content of folders is not known here, and values of references are not cached."""
    uris = [text for text in texts_in(params) if text.startswith("s3://") and not text.endswith("/")]
    values = {reference.uri for reference in references_in(params)} if uris else ()
    return (uri for uri in uris if uri not in values)
