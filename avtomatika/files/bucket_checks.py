"""Requests that show whether the keys of this process can read and write a bucket."""

from contextlib import suppress
from secrets import token_hex
from typing import Any

from avtomatika.errors import TaskError

from .s3_errors import translated_errors

#: Prefix of the objects that :func:`check_write` creates and deletes.
PROBES = "avtomatika-probes/"


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
