"""Files of jobs: listing them, and signed URLs for downloads and uploads.

Their content is transferred between S3 and the client directly.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import redirect
from werkzeug.wrappers import Response

from avtomatika.errors import InvalidRequestError, TransientError, UnavailableError
from avtomatika.files.bucket import SignedUpload
from avtomatika.files.job_files import MAX_UPLOAD_BYTES, UPLOAD_SECONDS, JobFiles
from avtomatika.schemas.answers import FileList, Upload
from avtomatika.schemas.api_files import FilesQuerySchema, UploadRequestSchema

from ..auth import caller
from ..routes import Routes
from ..services import services
from .jobs import callers_job

logger = logging.getLogger(__name__)

routes = Routes("files", __name__, url_prefix="/api/v1", description="Download and upload files")


@routes.get("/jobs/<job_id>/files")
@routes.arguments(FilesQuerySchema, location="query")
@routes.response(200, FileList)
def list_files(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """List the files of a job by name"""
    callers_job(job_id)
    with job_files() as files:
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
@routes.response(302, description="to a URL from which the file can be downloaded for a few minutes without a token")
def fetch_file(job_id: str, name: str) -> Response:
    """Download a file of a job, by its name or the end of it"""
    return redirect_to_file(job_id, name)


def redirect_to_file(job_id: str, name: str) -> Response:
    """Redirect to a signed URL of a file."""
    job = callers_job(job_id)
    with job_files() as files:
        response = redirect(files.download_url(files.find(job, name)))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@routes.post("/jobs/<job_id>/files/upload-url")
@routes.arguments(UploadRequestSchema)
@routes.response(200, Upload)
def upload_for_job(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Get a signed URL to upload a file of this job"""
    job = callers_job(job_id)
    with job_files() as files:
        return _upload_answer(files.job_upload(job, **_checked(wanted)))


@routes.post("/files/upload-url")
@routes.arguments(UploadRequestSchema)
@routes.response(200, Upload)
def upload(wanted: dict[str, Any]) -> dict[str, Any]:
    """Get a signed URL to upload a file for your jobs"""
    with job_files() as files:
        return _upload_answer(files.client_upload(caller().name, **_checked(wanted)))


def _checked(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted["size"] > MAX_UPLOAD_BYTES:
        message = f"is {wanted['size']} bytes, but one request takes at most {MAX_UPLOAD_BYTES}"
        raise InvalidRequestError(f"size {message}", fields={"size": [message]})
    return wanted


def _upload_answer(signed: SignedUpload) -> dict[str, Any]:
    return {
        "uri": str(signed.location),
        "url": signed.url,
        "headers": dict(signed.headers),
        "expires_in": UPLOAD_SECONDS,
    }


@contextmanager
def job_files() -> Iterator[JobFiles]:
    """Yield the files. Raises UnavailableError if S3 is; its message, which has addresses, goes to the log only."""
    try:
        yield services().job_files()
    except TransientError as error:
        logger.warning("%s", error)
        raise UnavailableError("the file storage is unavailable; retry later") from None
