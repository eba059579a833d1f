"""Translates errors of S3, the network and the disk into TaskErrors, which say where, why and whether to retry."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from urllib3.exceptions import HTTPError

from avtomatika.errors import InvalidInputError, TaskError, TransientError, WorkerFaultError

#: Error codes that reject the keys of this process for every request.
_KEYS = {
    "InvalidAccessKeyId": "the server does not know S3_ACCESS_KEY",
    "InvalidClientTokenId": "the server does not know S3_ACCESS_KEY",
    "UnrecognizedClientException": "the server does not know S3_ACCESS_KEY",
    "SignatureDoesNotMatch": "S3_SECRET_KEY is wrong",
    "ExpiredToken": "S3_SESSION_TOKEN has expired",
    "ExpiredTokenException": "S3_SESSION_TOKEN has expired",
    "TokenRefreshRequired": "S3_SESSION_TOKEN has expired",
    "InvalidToken": "S3_SESSION_TOKEN is not valid",
    "RequestTimeTooSkewed": "the clocks of this host and of the server differ too much",
    "RequestExpired": "the clocks of this host and of the server differ too much",
    "AuthorizationHeaderMalformed": "the server refuses the signature: S3_REGION may be wrong",
    "401": "the server refuses the keys",
}
#: Errors of a full disk or an exceeded quota.
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Other errors of a disk that cannot be written to.
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EIO)


class ObjectNotFoundError(InvalidInputError):
    """The object does not exist."""


class BucketNotFoundError(InvalidInputError):
    """The bucket does not exist."""


#: Error codes that a retry does not change, with the errors that they become.
_REASONS: dict[str, tuple[type[InvalidInputError], str]] = {
    "NoSuchKey": (ObjectNotFoundError, "there is no such key"),
    "404": (ObjectNotFoundError, "there is no such key, or no such bucket"),
    "NoSuchBucket": (BucketNotFoundError, "there is no such bucket"),
    "InvalidBucketName": (BucketNotFoundError, "not a valid bucket name"),
    "KeyTooLongError": (InvalidInputError, "the key is too long"),
}


class CredentialsError(WorkerFaultError):
    """The server rejects the keys of this process."""


class AccessDeniedError(WorkerFaultError):
    """The keys do not allow this request. They may also be invalid: some responses do not say which."""


class NotS3Error(WorkerFaultError):
    """The server at the endpoint is not an S3 server."""


class UnexpectedResponseError(Exception):
    """A response that is not from an S3 server."""


class ObjectChangedError(TransientError):
    """The object changed during the download."""


def is_full(problem: BaseException) -> bool:
    """Return whether the disk is full."""
    return isinstance(problem, OSError) and problem.errno in _FULL


@contextmanager
def translated_errors(what: object) -> Iterator[None]:
    """Translate errors of S3, the network and the disk into TaskErrors whose messages start with *what*."""
    try:
        yield
    except TaskError:
        raise
    except RetriesExceededError as problem:
        raise task_error(what, problem.last_exception) from problem
    except S3DownloadFailedError as problem:
        raise ObjectChangedError(f"{what}: {problem}") from problem
    except (ClientError, BotoCoreError, ResponseParserError, UnexpectedResponseError, HTTPError, OSError) as problem:
        raise task_error(what, problem) from problem


def task_error(what: object, problem: BaseException) -> TaskError:
    """Return the TaskError for *problem*."""
    if isinstance(problem, TaskError):
        return problem
    if isinstance(problem, ClientError):
        return _refused(what, problem)
    if isinstance(problem, NoCredentialsError):
        return CredentialsError(f"{what}: S3_ACCESS_KEY and S3_SECRET_KEY are not set, and boto3 finds no others")
    if isinstance(problem, ParamValidationError):
        return InvalidInputError(f"{what}: {problem}")
    if isinstance(problem, ResponseParserError | UnexpectedResponseError):
        how = problem if isinstance(problem, UnexpectedResponseError) else "its response cannot be parsed"
        return NotS3Error(f"{what}: what answers at S3_ENDPOINT_URL is not an S3 server: {how}")
    if isinstance(problem, OSError) and problem.errno in (*_FULL, *_NOT_WRITABLE):
        message = f"{what}: the payload folder cannot be written to: {_words(problem)}"
        return WorkerFaultError(message, probe={"check": "disk"})
    return TransientError(f"{what}: {_words(problem)}")


def _refused(what: object, problem: ClientError) -> TaskError:
    error = problem.response.get("Error", {})
    code = str(error.get("Code", ""))
    status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _KEYS or status == 401:
        return CredentialsError(f"{what}: access denied: {_KEYS.get(code, _KEYS['401'])}")
    if code in _REASONS:
        error_class, reason = _REASONS[code]
        return error_class(f"{what}: {reason}")
    if status == 403 or code in ("AccessDenied", "403", "400"):  # responses to HEAD have only a status
        detail = f" ({code})" if code not in ("", "403", "AccessDenied") else ""
        return AccessDeniedError(f"{what}: access denied{detail}")
    if status == 412:
        return ObjectChangedError(f"{what}: it was changed while it was downloaded")
    if isinstance(status, int) and 300 <= status < 400:
        return NotS3Error(f"{what}: the server redirects ({status} {code}): S3_ENDPOINT_URL or S3_REGION is wrong")
    kind = problem.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "")
    # boto3 reports unparsable 200s like this.
    if status == 500 and code == "500" and kind.startswith(("text/html", "application/json")):
        return NotS3Error(f"{what}: what answers at S3_ENDPOINT_URL is not an S3 server: it responds with {kind}")
    return TransientError(f"{what}: the server answered {status} {code}: {error.get('Message', '')}".rstrip(": "))


def _words(problem: BaseException) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return f"{type(problem).__name__}: {problem}"
