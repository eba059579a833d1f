"""What an answer that is no success tells, as one of our errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import requests

from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)

#: Statuses that a proxy answers when what is behind it is away.
_AWAY = (502, 503, 504)
_TOO_BAD = (400, 413, 415, 422)


def error_of(response: requests.Response, path: str) -> AvtomatikaError:
    """The error that *response* tells of."""
    problem = _problem(response)
    detail = str(problem.get("detail") or f"{path} answered {response.status_code} {response.reason}")
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
        case 429:
            return TooManyRequestsError(detail, retry_after_seconds=_retry_after_seconds(response))
        case status if status in _TOO_BAD:
            return InvalidRequestError(detail, fields=problem.get("errors"))
        case status if status in _AWAY:
            return UnavailableError(detail, retry_after_seconds=_retry_after_seconds(response))
    return AvtomatikaError(detail)


def _problem(response: requests.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        problem = response.json()
    except requests.JSONDecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _retry_after_seconds(response: requests.Response) -> int:
    header = response.headers.get("Retry-After", "")
    return int(header) if header.isdecimal() else 2
