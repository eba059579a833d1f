"""Errors as ``application/problem+json`` (RFC 9457), with one table of classes and statuses for the whole app."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from secrets import token_hex
from typing import Any

import orjson
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound as NoSuchPath, RequestEntityTooLarge

from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    HistoryUnavailableError,
    InvalidRequestError,
    NoRouteError,
    NotFoundError,
    QuotaExceededError,
    SettingsError,
    TooManyAttemptsError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnreadableRecordError,
)
from avtomatika.schemas.api_fields import rfc3339

from .services import services

logger = logging.getLogger(__name__)

#: Statuses of our errors; the status of any other is 500.
STATUSES: Mapping[type[AvtomatikaError], HTTPStatus] = {
    InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    ExpiredError: HTTPStatus.GONE,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyAttemptsError: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    NoRouteError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnreadableRecordError: HTTPStatus.INTERNAL_SERVER_ERROR,
    SettingsError: HTTPStatus.NOT_IMPLEMENTED,  # within a request: something that it needs is not installed
}


def register_problems(app: Flask) -> None:
    """Register handlers that answer every error of *app* as a problem."""
    app.register_error_handler(AvtomatikaError, _own_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, _internal_error)


def problem(status: HTTPStatus, detail: str, *, code: str, **more: Any) -> Response:
    """Build an error response; *more* are additional members, omitted if empty."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    body |= {name: value for name, value in more.items() if value}
    text = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)  # errors in a list have positions as keys
    return Response(text, status=status, content_type="application/problem+json")


def _own_error(error: AvtomatikaError) -> Response:
    error = services().throttle.counted(error)
    status = status_of(error)
    if status is None:
        return _internal_error(error)
    response = problem(status, detail_of(error), code=error.code, **_members(error))
    response.headers.update(headers_of(error))
    return response


def status_of(error: AvtomatikaError) -> HTTPStatus | None:
    """Return the status of *error*, or None for an error that no client may see."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)


def detail_of(error: AvtomatikaError) -> str:
    """Return the text of *error* for the client. The server's own words, which include addresses, go to the log
    only."""
    if isinstance(error, NoRouteError):
        return "the broker does not know this blueprint yet; retry later"
    if isinstance(error, UnavailableError) and error.__cause__ is not None:
        logger.warning("%s %r: %s", request.method, request.path, error)
        what = "history database" if isinstance(error, HistoryUnavailableError) else "job server"
        return f"the {what} is unavailable; retry later"
    return str(error)


def _members(error: AvtomatikaError) -> dict[str, Any]:
    match error:
        case InvalidRequestError():
            return {"errors": error.fields}
        case NotFoundError():
            return {"kind": error.kind, "name": error.name, "near": error.near}
        case QuotaExceededError():
            renews_at = rfc3339(round(error.renews.timestamp() * 1000))
            return {"limit": error.limit, "created": error.created, "renews_at": renews_at}
    return {}


def headers_of(error: AvtomatikaError) -> dict[str, str]:
    """Return the additional headers of the response."""
    match error:
        case UnauthorizedError():
            return {"WWW-Authenticate": 'Bearer realm="avtomatika"'}
        case UnavailableError() | TooManyAttemptsError() | TooManyRequestsError():
            return {"Retry-After": str(error.retry_after_seconds)}
        case QuotaExceededError():
            return {"Retry-After": str(max(1, round((error.renews - services().store.clock.now()).total_seconds())))}
        case NoRouteError():
            return {"Retry-After": "2"}
    return {}


def http_error(error: HTTPException) -> Response:
    """Answer an error of Flask as a problem."""
    if isinstance(error, NoSuchPath):
        return _own_error(NotFoundError("path", request.path, known=_fixed_paths()))
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    response = problem(status, http_detail(error), code=_http_code(status))
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def _fixed_paths() -> list[str]:
    return [rule.rule for rule in current_app.url_map.iter_rules() if not rule.arguments]


def http_detail(error: HTTPException) -> str:
    """Return the text for an error of Flask."""
    match error:
        case RequestEntityTooLarge():
            size = f"{request.content_length} bytes long" if request.content_length else "longer"
            return f"the body is {size}, but at most {request.max_content_length} bytes are accepted"
        case MethodNotAllowed():
            possible = ", ".join(sorted(error.valid_methods or ()))
            return f"{request.method} is not allowed here; allowed: {possible}"
    return error.description or ""


def _http_code(status: HTTPStatus) -> str:
    return "too_large" if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE else status.name.lower()


def _internal_error(error: Exception) -> Response:
    """Answer without details; the log has them under the same incident number."""
    incident = token_hex(8)
    logger.error("%s %r failed, incident %s", request.method, request.path, incident, exc_info=error)
    detail = f"internal error; the log has the details under incident {incident}"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error", incident=incident)
