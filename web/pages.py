"""HTML pages without scripts or external resources; their values are escaped."""

from __future__ import annotations

from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any

from flask import Response, make_response, render_template

from avtomatika.core.times import utc
from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)

from .problems import detail_of, headers_of, status_of

#: Headings of error pages.
_HEADINGS: tuple[tuple[type[AvtomatikaError], str], ...] = (
    (ForbiddenError, "Not valid"),
    (ExpiredError, "Expired"),
    (NotFoundError, "Not found"),
    (ConflictError, "Already decided"),
    (UnavailableError, "Temporarily unavailable"),
)


def page(template: str, *, status: int = 200, **context: Any) -> Response:
    """Render *template* with *context*. A random nonce allows its one style sheet."""
    nonce = token_urlsafe(16)
    response: Response = make_response(render_template(template, nonce=nonce, moment=moment, **context), status)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def notice(error: AvtomatikaError) -> Response:
    """Render *error* as a page."""
    status = status_of(error) or HTTPStatus.INTERNAL_SERVER_ERROR
    heading = next((text for kind, text in _HEADINGS if isinstance(error, kind)), "Something went wrong")
    response = page("notice.html", status=status, heading=heading, detail=detail_of(error))
    response.headers.update(headers_of(error))
    return response


def moment(timestamp_ms: int) -> str:
    """Format a time for people, in UTC.

    >>> moment(1_795_451_644_007)
    '23 November 2026, 16:34 UTC'
    """
    then = utc(timestamp_ms)
    return f"{then.day} {then:%B %Y, %H:%M} UTC"
