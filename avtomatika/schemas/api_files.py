"""Bodies, queries and responses of the HTTP API about files."""

import re

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, Range, Regexp

from .api_fields import Timestamp, about
from .api_requests import Strict

#: Maximum number of files in a page.
LARGEST_PAGE = 1000
#: Maximum length of a file name, as in file systems.
LONGEST_NAME_BYTES = 255
_SHA256 = re.compile("[0-9a-f]{64}")


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
    size = fields.Integer(required=True, strict=True, validate=Range(min=0), metadata=about("exact size in bytes"))
    sha256 = fields.String(
        load_default=None,
        validate=Regexp(_SHA256, error="must be 64 hex digits"),
        metadata=about("verified after each download"),
    )


class FileSchema(Schema):
    """A file of a job."""

    name = fields.String(metadata=about("relative to the files of the job"))
    uri = fields.String()
    size = fields.Integer(metadata=about("bytes"))
    modified_at = Timestamp(attribute="modified_ms")


class FileListSchema(Schema):
    """A page of files, by name."""

    job_id = fields.String()
    files = fields.List(fields.Nested(FileSchema))
    next = fields.String(allow_none=True, metadata=about("`after` of the next page; null at the end"))


class UploadSchema(Schema):
    """Where to upload a file: send `method` to `url` with all `headers`; then `uri` identifies the file."""

    uri = fields.String(metadata=about("for the initial data of jobs"))
    url = fields.String()
    method = fields.Constant("PUT")
    headers = fields.Dict(keys=fields.String(), values=fields.String())
    expires_in = fields.Integer(metadata=about("seconds until the URL expires"))


class LineageQuerySchema(Strict):
    """The file."""

    uri = fields.String(required=True, metadata=about("s3://bucket/key"))


class MakerSchema(Schema):
    """The task, handler or client that created a file."""

    kind = fields.String(metadata=about("task, handler or client"))
    job_id = fields.String()
    task_id = fields.String()
    attempt = fields.Integer()
    state = fields.String()
    worker_id = fields.String()
    client = fields.String(metadata=about("the owner"))


class UseSchema(Schema):
    """A job that refers to a file or to a folder that contains it."""

    job_id = fields.String()
    status = fields.String()
    where = fields.List(fields.String(), metadata=about("initial_data, state_history, tasks"))


class LineageSchema(Schema):
    """The origin of a file and the jobs that use it."""

    uri = fields.String()
    made_by = fields.Nested(MakerSchema, allow_none=True)
    used_by = fields.List(fields.Nested(UseSchema), metadata=about("newest first"))
    is_complete = fields.Boolean(metadata=about("false if only the newest 10,000 jobs were searched"))
