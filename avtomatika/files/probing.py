"""Requests that show whether a bucket can be read and written with the keys of this process."""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex
from typing import Any

from avtomatika.errors import TaskError

from .s3_errors import translated_errors

#: Prefix of the objects that :func:`check_write` makes and removes.
PROBES = "avtomatika-probes/"


def check_read(client: Any, bucket: str, *, prefix: str = "") -> None:
    """Ask for at most one key. Raises what boto3 raises."""
    client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)


def check_write(client: Any, bucket: str) -> None:
    """Make an empty object and remove it. Raises what boto3 raises."""
    key = f"{PROBES}{token_hex(8)}"
    client.put_object(Bucket=bucket, Key=key, Body=b"")
    client.delete_object(Bucket=bucket, Key=key)


def is_usable(client: Any, bucket: str) -> bool:
    """Whether *bucket* can be read or written: keys may be good for one of them only."""
    for check in (check_read, check_write):
        with suppress(TaskError), translated_errors(bucket):
            check(client, bucket)
            return True
    return False
