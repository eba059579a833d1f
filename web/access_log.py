"""The access log and the span of each request. Requests of workers and probes are logged at the level DEBUG."""

import logging
from contextlib import ExitStack
from time import monotonic

from flask import Flask, Response, g, request

from avtomatika import tracing
from avtomatika.core.texts import shortened

from . import health
from .gateway import GATEWAY_ROUTES

logger = logging.getLogger("avtomatika.access")

#: Routes that are called all the time, without spans.
_FREQUENT = frozenset({health.routes.name, GATEWAY_ROUTES, "metrics"})
#: Maximum length of a path, in characters.
_MAX_PATH = 500


def record_requests(app: Flask, *, is_logged: bool = True) -> None:
    """Log each request of *app* if *is_logged*, and make a span of it if spans are exported."""

    def begin() -> None:
        g.began, g.spans = monotonic(), ExitStack()
        if request.blueprint not in _FREQUENT:
            route, parent = str(request.url_rule or ""), tracing.checked(request.headers.get("traceparent"))
            attributes = {"http.request.method": request.method, "http.route": route, "url.path": _path()}
            g.span = tracing.begin(request.method, route, parent=parent, attributes=attributes)
            g.spans.enter_context(tracing.inside(g.span))

    def end(response: Response) -> Response:
        status = response.status_code
        error = str(status) if status >= 500 else None
        tracing.end(g.get("span"), error=error, attributes={"http.response.status_code": status})
        level = logging.DEBUG if request.blueprint in _FREQUENT else logging.INFO
        if is_logged and logger.isEnabledFor(level):
            client = g.caller.name if "caller" in g else g.access.worker_id if "access" in g else "-"
            ms = round((monotonic() - g.began) * 1000, 1)
            fields = {"method": request.method, "path": _path(), "status": status, "duration_ms": ms, "client": client}
            trace_id = tracing.trace_id(tracing.current() or request.headers.get("traceparent"))
            logger.log(level, "%s %s %d in %.1f ms by %s", *fields.values(), extra=fields | {"trace_id": trace_id})
        return response

    app.before_request(begin)
    app.after_request(end)
    app.teardown_request(lambda _: g.spans.close() if "spans" in g else None)


def _path() -> str:
    """The path without its query, and without the key of a login link, also where the request is not valid."""
    path, is_login, _ = request.path.partition("/login/")
    return shortened(ascii(path + is_login)[1:-1], _MAX_PATH)
