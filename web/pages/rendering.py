"""Rendering of the pages: templates whose values are escaped, with local style sheets and scripts only."""

import re
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Response, g, make_response, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import NotFound

from avtomatika.core.graph.style import span
from avtomatika.core.job import JobStatus
from avtomatika.core.times import utc
from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)

from ..problems import detail_of, headers_of, http_error, status_of
from ..services import services

#: Headings of error pages.
_HEADINGS: tuple[tuple[type[AvtomatikaError], str], ...] = (
    (ForbiddenError, "Not allowed"),
    (ExpiredError, "Expired"),
    (NotFoundError, "Not found"),
    (ConflictError, "Not possible any more"),
    (InvalidRequestError, "Not understood"),
    (UnavailableError, "Temporarily unavailable"),
)
#: The tone of a status, which the style sheet colors.
_TONES = {
    JobStatus.FINISHED: "good",
    JobStatus.FAILED: "bad",
    JobStatus.ERROR: "bad",
    JobStatus.QUARANTINED: "warn",
    JobStatus.CANCELLED: "off",
    JobStatus.WAITING_FOR_HUMAN: "ask",
    JobStatus.WAITING_FOR_SIGNAL: "wait",
    JobStatus.WAITING_FOR_TIMER: "wait",
    JobStatus.WAITING_FOR_CHILD: "wait",
}


def page(template: str, *, status: int = 200, shows_files: bool = False, **context: Any) -> Response:
    """Render *template* with *context*. Images may also be files of jobs if it *shows_files*."""
    files = services().files if shows_files else None
    images = "'self'" if files is None else f"'self' {files.origin}"
    session = g.get("session")
    context = {
        "caller": g.get("caller"),
        "csrf_token": session.csrf_token if session is not None else "",
        **context,
    }
    if "now_ms" not in context:  # error pages do without the server's clock: it may be the server that is unavailable
        context["now_ms"] = services().store.clock.now_ms()
    response: Response = make_response(render_template(template, **context), status)
    scripts = "script-src 'self'; connect-src 'self'; " if context["caller"] is not None else ""
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; {scripts}img-src {images}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def notice(error: AvtomatikaError) -> Response:
    """Render *error* as a page."""
    status = status_of(error) or HTTPStatus.INTERNAL_SERVER_ERROR
    heading = next((text for kind, text in _HEADINGS if isinstance(error, kind)), "Something went wrong")
    response = page("notice.html", status=status, heading=heading, detail=detail_of(error), now_ms=0)
    response.headers.update(headers_of(error))
    return response


def page_not_found(error: NotFound) -> Response:
    """Answer a path that does not exist: with a page if the request prefers one, as a browser does."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        return http_error(error)
    return notice(NotFoundError("page", request.path))


# ---------------------------------------------------------------- filters


def moment(timestamp_ms: int) -> str:
    """Format a time for people, in UTC.

    >>> moment(1_795_451_644_007)
    '23 November 2026, 16:34 UTC'
    """
    then = utc(timestamp_ms)
    return f"{then.day} {then:%B %Y, %H:%M} UTC"


def clock(timestamp_ms: int) -> str:
    """Format the time of day, in UTC.

    >>> clock(1_795_451_644_007)
    '16:34:04.007'
    """
    return f"{utc(timestamp_ms):%H:%M:%S}.{timestamp_ms % 1000:03}"


def iso(timestamp_ms: int) -> str:
    """Format a time for programs."""
    return f"{utc(timestamp_ms):%Y-%m-%dT%H:%M:%SZ}"


def sentence(text: object) -> str:
    """Return *text* with a capital letter and a full stop.

    >>> sentence("no client has this token")
    'No client has this token.'
    """
    words = str(text).strip()
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '!', '?')) else '.'}"


def spoken(word: object) -> str:
    """Return the name of a status, an outcome or an event as words.

    >>> spoken("waiting_for_human")
    'waiting for human'
    """
    return str(word).replace("_", " ")


def tone(status: str) -> str:
    """Return the tone of a job's *status*."""
    return _TONES.get(JobStatus(status), "run")


def visible(value: object) -> object:
    """Escape characters that change how the text around them is shown, such as right-to-left marks.

    >>> visible("exe.\u202egnp")
    'exe.\\\\u202egnp'
    """
    if type(value) is not str or not _HIDDEN.search(value):
        return value
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def asset(name: str) -> str:
    """Return the URL of a file of ``static/``, which changes with its content."""
    return url_for("pages.static", filename=name, v=digest_of(name))


@cache
def digest_of(name: str) -> str:
    """Return the version of a file of ``static/``."""
    return sha256((Path(__file__).parent / "static" / name).read_bytes()).hexdigest()[:12]


def register_filters(state: BlueprintSetupState) -> None:
    """Add the filters to the templates of the app."""
    filters = (moment, clock, iso, span, sentence, spoken, tone, visible)
    state.app.jinja_env.filters.update({each.__name__: each for each in filters})
    state.app.jinja_env.globals["asset"] = asset
    state.app.jinja_env.finalize = visible
