"""Bodies and queries of the HTTP API about files."""

import re

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range, Regexp

from .api_fields import Whole, about
from .api_requests import Strict

#: Maximum number of files in a page.
LARGEST_PAGE = 1000
#: Maximum length of a file name, as in file systems.
LONGEST_NAME_BYTES = 255
_SHA256 = re.compile(r"^[0-9a-f]{64}$(?!\n)")


def _check_name(name: str) -> None:
    if "/" in name or "\0" in name or name in (".", ".."):
        raise ValidationError("must be a name without a folder, as movie.mp4 is")
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise ValidationError(f"has {len(name.encode())} bytes, at most {LONGEST_NAME_BYTES}")


class FilesQuerySchema(Strict):
    """A range of a file list."""

    after = fields.String(load_default="", metadata=about("`next` of the previous page"))
    limit = fields.Integer(load_default=LARGEST_PAGE, validate=Range(1, LARGEST_PAGE))


class UploadRequestSchema(Strict):
    """A file to upload."""

    name = fields.String(required=True, validate=[Length(min=1), _check_name])
    size = Whole(required=True, validate=Range(min=0), metadata=about("exact size in bytes"))
    sha256 = fields.String(
        load_default=None,
        validate=Regexp(_SHA256, error="must be 64 hex digits"),
        metadata=about("verified after each download"),
    )


class LineageQuerySchema(Strict):
    """The file."""

    uri = fields.String(required=True, metadata=about("s3://bucket/key"))
