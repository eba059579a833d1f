"""The routes of the pages: all but the login need a session, and each form sends back its CSRF token."""

from http import HTTPStatus
from typing import Any

from flask import Response, g, make_response, redirect, request, url_for

from avtomatika.errors import AvtomatikaError, ForbiddenError

from ..routes import Routes
from ..services import services
from .rendering import digest_of, notice, register_filters
from .session import Session

routes = Routes("pages", __name__, template_folder="templates", static_folder="static")
routes.record(register_filters)

#: Endpoints that need no session.
_PUBLIC = frozenset({"pages.static", "pages.show_login", "pages.login", "pages.log_in_by_link"})


@routes.before_request
def _authenticate() -> Response | None:
    """Redirect requests without a session to the login page; reject forms with a wrong CSRF token, or of a viewer."""
    if request.endpoint == "pages.static":
        return None
    now_ms = services().store.clock.now_ms()
    session = Session.of(request, services().store.keyring.secret, now_ms=now_ms)
    client = None if session is None else session.authenticated_client(services().clients, services().store.logins)
    g.session = session or Session.new(now_ms=now_ms)
    if client is not None:
        g.caller = client
    elif request.endpoint not in _PUBLIC:
        page = request.full_path.rstrip("?") if request.method == "GET" else None
        return see_other("pages.show_login", next=None if page == "/" else page)
    if request.method == "POST":
        g.session.check_csrf_token(request.form.get("csrf_token", ""))
        if client is not None and client.is_read_only and request.endpoint != "pages.logout":
            raise ForbiddenError(f"{client.name} may look at everything but change nothing")
    return None


@routes.after_request
def _cache_assets(response: Response) -> Response:
    """Let browsers keep a version of a file, whose address no other version has."""
    is_file = request.endpoint == "pages.static" and response.status_code == HTTPStatus.OK
    if is_file and request.args.get("v") == digest_of(str((request.view_args or {})["filename"])):
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@routes.errorhandler(AvtomatikaError)
def _error_page(error: AvtomatikaError) -> Response:
    return notice(error)


def see_other(endpoint: str, **values: Any) -> Response:
    """Redirect to a page after a form, so that reloading does not send the form again."""
    return make_response(redirect(url_for(endpoint, **values), HTTPStatus.SEE_OTHER))
