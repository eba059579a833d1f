"""What went wrong in S3, as what a task ends with: it says where, why, and whether another try can help."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from urllib3.exceptions import HTTPError

from avtomatika.errors import InvalidInputError, TaskError, TransientError

#: Answers that another try does not change, with what is said of them.
_REASONS = {
    "NoSuchKey": "there is no such key",
    "NoSuchBucket": "there is no such bucket",
    "404": "there is no such key, or no such bucket",
    "AccessDenied": "access denied",
    "403": "access denied",
    "InvalidAccessKeyId": "access denied: the server does not know S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "access denied: S3_SECRET_KEY is wrong",
    "InvalidBucketName": "that is no name of a bucket",
    "KeyTooLongError": "the key is too long",
}
#: Those that say that there is nothing.
_MISSING = ("NoSuchKey", "404")
#: How a full disk, or a used up share of it, is called.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Missing(InvalidInputError):
    """There is no such object."""


class Changed(TransientError):
    """An object is no longer what it was when the download began."""


def is_full(problem: BaseException) -> bool:
    """Whether *problem* is that there is no room on the disk."""
    return isinstance(problem, OSError) and problem.errno in _FULL


@contextmanager
def told_of(what: object) -> Iterator[None]:
    """Turn whatever S3, the network or the disk raises into a TaskError that begins with *what*."""
    try:
        yield
    except TaskError:
        raise
    except RetriesExceededError as problem:
        raise task_error(what, problem.last_exception) from problem
    except S3DownloadFailedError as problem:
        raise Changed(f"{what}: {problem}") from problem
    except (ClientError, BotoCoreError, HTTPError, OSError) as problem:
        raise task_error(what, problem) from problem


def task_error(what: object, problem: BaseException) -> TaskError:
    """The TaskError that *problem* becomes."""
    if isinstance(problem, ClientError):
        return _refused(what, problem)
    if isinstance(problem, NoCredentialsError):
        return InvalidInputError(f"{what}: S3_ACCESS_KEY and S3_SECRET_KEY are not set, and nothing takes their place")
    if isinstance(problem, ParamValidationError):
        return InvalidInputError(f"{what}: {problem}")
    return TransientError(f"{what}: {_words(problem)}")


def _refused(what: object, problem: ClientError) -> TaskError:
    error = problem.response.get("Error", {})
    code = str(error.get("Code", ""))
    status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _REASONS:
        return (Missing if code in _MISSING else InvalidInputError)(f"{what}: {_REASONS[code]}")
    if status == 403 and code != "RequestTimeTooSkewed":
        return InvalidInputError(f"{what}: access denied ({code})")
    if status == 412:
        return Changed(f"{what}: it was changed while it was downloaded")
    return TransientError(f"{what}: the server answered {status} {code}: {error.get('Message', '')}".rstrip(": "))


def _words(problem: BaseException) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return f"{type(problem).__name__}: {problem}"
