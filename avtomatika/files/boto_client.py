"""One client of boto3 for all threads of a process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import boto3
from botocore.config import Config

from .config import S3Config
from .s3_errors import UnexpectedResponseError

#: How often a request is made before it is given up, and how often a body that broke off is asked for.
ATTEMPTS = 4
#: Longest wait for a connection.
_CONNECT_SECONDS = 10.0
#: What the answer of an S3 server to these operations has: one of the names.
_ANSWERS = {
    "HeadObject": ("ETag",),
    "GetObject": ("ETag",),
    "PutObject": ("ETag",),
    "UploadPart": ("ETag",),
    "CreateMultipartUpload": ("UploadId",),
    "CompleteMultipartUpload": ("ETag", "Location", "Key"),
    "ListObjectsV2": ("Name", "KeyCount", "IsTruncated", "Contents"),
}


def connect(config: S3Config, *, connections: int, endpoint_url: str | None = None) -> Any:
    """The client of *config*, or of another address of the same server; nothing is sent yet."""
    client = boto3.session.Session(
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        aws_session_token=config.session_token,
        region_name=config.region,
    ).client(
        "s3",
        endpoint_url=endpoint_url or config.endpoint_url,
        verify=config.ca_bundle,
        config=Config(
            signature_version="s3v4",  # the older one, which signed URLs may still have, covers no headers
            s3={"addressing_style": "path" if config.needs_path_style else "auto"},
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=min(config.timeout_seconds, _CONNECT_SECONDS),
            read_timeout=config.timeout_seconds,
            max_pool_connections=connections,
            request_checksum_calculation=config.request_checksums,
            # What is fetched is compared with the checksum of our own, which goes as metadata.
            response_checksum_validation="when_required",
        ),
    )
    for operation, names in _ANSWERS.items():
        client.meta.events.register(f"after-call.s3.{operation}", partial(_check_answer, names))
    return client


def _check_answer(names: tuple[str, ...], parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise UnexpectedAnswer if something else than S3 has answered, as a proxy with its login page does."""
    metadata = parsed.get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode", 0) < 300 and not any(name in parsed for name in names):
        kind = metadata.get("HTTPHeaders", {}).get("content-type", "no content type")
        raise UnexpectedResponseError(f"its answer has no {names[0]} ({kind})")
