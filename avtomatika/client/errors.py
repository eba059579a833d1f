"""Error responses as the errors of :mod:`avtomatika.errors`."""

from datetime import datetime
from typing import Any

import httpx

from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)

#: Statuses with which a proxy reports that the server behind it is down.
_UNAVAILABLE = (502, 503, 504)
_INVALID = (400, 413, 415, 422)


def error_of(response: httpx.Response, path: str) -> AvtomatikaError:
    """Return the error that *response* reports."""
    problem = _problem(response)
    detail = str(problem.get("detail") or f"{path} answered {response.status_code} {response.reason_phrase}")
    match response.status_code:
        case 401:
            return UnauthorizedError(detail)
        case 403:
            return ForbiddenError(detail)
        case 404:
            kind, name = str(problem.get("kind", "page")), str(problem.get("name", path))
            return NotFoundError(kind, name, known=problem.get("near", ()))
        case 409:
            return ConflictError(detail)
        case 429 if "renews_at" in problem:
            renews = datetime.fromisoformat(str(problem["renews_at"]))
            created, limit = int(problem.get("created", 0)), int(problem.get("limit", 0))
            return QuotaExceededError(limit=limit, created=created, asked=1, renews=renews)
        case 429 if problem.get("code") == RateLimitError.code:
            return RateLimitError(detail, retry_after_seconds=_retry_after_seconds(response))
        case 429:
            return TooManyRequestsError(detail, retry_after_seconds=_retry_after_seconds(response))
        case status if status in _INVALID:
            return InvalidRequestError(detail, fields=problem.get("errors"))
        case status if status in _UNAVAILABLE:
            return UnavailableError(detail, retry_after_seconds=_retry_after_seconds(response))
    return AvtomatikaError(detail)


def _problem(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _retry_after_seconds(response: httpx.Response) -> int:
    header = response.headers.get("Retry-After", "")
    return int(header) if header.isdecimal() else 2
