"""Files of jobs: what is there, where to get it, where to send more.

Their content goes between S3 and the client, never through here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import redirect
from werkzeug.wrappers import Response

from avtomatika.errors import InvalidRequestError, TransientError, UnavailableError
from avtomatika.files.bucket import SignedUpload
from avtomatika.files.job_files import MAX_UPLOAD_BYTES, UPLOAD_SECONDS, JobFiles
from avtomatika.schemas.api_files import FileListSchema, FilesQuerySchema, UploadRequestSchema, UploadSchema

from ..auth import caller
from ..routes import Routes
from ..services import services
from .jobs import callers_job

logger = logging.getLogger(__name__)

routes = Routes("files", __name__, url_prefix="/api/v1", description="Fetch and send files")


@routes.get("/jobs/<job_id>/files")
@routes.arguments(FilesQuerySchema, location="query")
@routes.response(200, FileListSchema)
def list_files(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """List the files of a job, by name"""
    callers_job(job_id)
    with _asked() as files:
        found, following = files.page(job_id, **wanted)
    listed = [
        {
            "name": files.name_of(stored, job_id),
            "uri": str(stored.location),
            "size": stored.size,
            "modified_ms": stored.modified_ms,
        }
        for stored in found
    ]
    return {"job_id": job_id, "files": listed, "next": following}


@routes.get("/jobs/<job_id>/files/<path:name>")
@routes.response(302, description="to where the file can be fetched for a few minutes, without a token")
def fetch_file(job_id: str, name: str) -> Response:
    """Fetch a file of a job, by its name or the end of it"""
    job = callers_job(job_id)
    with _asked() as files:
        response = redirect(files.download_url(files.find(job, name)))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@routes.post("/jobs/<job_id>/files/upload-url")
@routes.arguments(UploadRequestSchema)
@routes.response(200, UploadSchema)
def upload_for_job(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Get a place to send a file to that is one of this job"""
    job = callers_job(job_id)
    with _asked() as files:
        return _told(files.upload_for(job, **_fitting(wanted)))


@routes.post("/files/upload-url")
@routes.arguments(UploadRequestSchema)
@routes.response(200, UploadSchema)
def upload(wanted: dict[str, Any]) -> dict[str, Any]:
    """Get a place to send a file to that jobs of yours can fetch"""
    with _asked() as files:
        return _told(files.upload_of(caller().name, **_fitting(wanted)))


def _fitting(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted["size"] > MAX_UPLOAD_BYTES:
        message = f"is {wanted['size']} bytes, but at most {MAX_UPLOAD_BYTES} go in one request"
        raise InvalidRequestError(f"size {message}", fields={"size": [message]})
    return wanted


def _told(signed: SignedUpload) -> dict[str, Any]:
    return {
        "uri": str(signed.location),
        "url": signed.url,
        "headers": dict(signed.headers),
        "expires_in": UPLOAD_SECONDS,
    }


@contextmanager
def _asked() -> Iterator[JobFiles]:
    """The files; while S3 is away, UnavailableError. What it says stands in the log: there are addresses in it."""
    try:
        yield services().job_files()
    except TransientError as error:
        logger.warning("%s", error)
        raise UnavailableError("the server that keeps the files does not answer; ask again later") from None
