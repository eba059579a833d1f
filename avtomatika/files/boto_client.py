"""Creates and configures the client of boto3; one serves all threads of a process.

The checks show whether the keys of this process can read and write a bucket.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import Any

import boto3
from botocore.config import Config

from avtomatika.errors import TaskError

from .config import S3Config
from .s3_errors import UnexpectedResponseError, translated_errors

#: Attempts of a request, and of reading a response body that breaks off.
ATTEMPTS = 4
#: Connection timeout; at most the timeout of requests.
_CONNECT_SECONDS = 10.0
#: Operation -> fields of which every S3 response to it has at least one.
_ANSWERS = {
    "HeadObject": ("ETag",),
    "GetObject": ("ETag",),
    "PutObject": ("ETag",),
    "UploadPart": ("ETag",),
    "CreateMultipartUpload": ("UploadId",),
    "CompleteMultipartUpload": ("ETag", "Location", "Key"),
    "ListObjectsV2": ("Name", "KeyCount", "IsTruncated", "Contents"),
}
#: Prefix of the objects that :func:`check_write` creates and deletes.
PROBES = "avtomatika-probes/"


def connect(config: S3Config, *, connections: int, endpoint_url: str | None = None) -> Any:
    """Return a client for *config*, or for another address of the same server; send nothing yet."""
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
            signature_version="s3v4",  # the older version, still the default of some signed URLs, covers no headers
            s3={"addressing_style": "path" if config.needs_path_style else "auto"},
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=min(config.timeout_seconds, _CONNECT_SECONDS),
            read_timeout=config.timeout_seconds,
            max_pool_connections=connections,
            request_checksum_calculation=config.request_checksums,
            # Downloads are verified with the SHA-256 in the metadata.
            response_checksum_validation="when_required",
        ),
    )
    for operation, names in _ANSWERS.items():
        client.meta.events.register(f"after-call.s3.{operation}", partial(_check_answer, names))
    return client


def _check_answer(names: tuple[str, ...], parsed: Mapping[str, Any], **_: Any) -> None:
    """Raise UnexpectedAnswer if the response is not from S3, e.g. the login page of a proxy."""
    metadata = parsed.get("ResponseMetadata", {})
    if metadata.get("HTTPStatusCode", 0) < 300 and not any(name in parsed for name in names):
        kind = metadata.get("HTTPHeaders", {}).get("content-type", "no content type")
        raise UnexpectedResponseError(f"its answer has no {names[0]} ({kind})")


def check_read(client: Any, bucket: str, *, prefix: str = "") -> None:
    """List at most one key. Raise what boto3 raises."""
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def check_write(client: Any, bucket: str) -> None:
    """Create an empty object and delete it. Raise what boto3 raises."""
    key = f"{PROBES}{token_hex(8)}"
    client.put_object(Bucket=bucket, Key=key, Body=b"")
    client.delete_object(Bucket=bucket, Key=key)


def is_usable(client: Any, bucket: str) -> bool:
    """Return whether *bucket* can be read or written: keys may allow only one of them."""
    for check in (check_read, check_write):
        with suppress(TaskError), translated_errors(bucket):
            check(client, bucket)
            return True
    return False
