"""Log in with a client token, or with a link that is valid once; log out."""

from http import HTTPStatus

from flask import Response, g, make_response, redirect, request, url_for

from avtomatika.errors import ExpiredError, TooManyAttemptsError, UnauthorizedError
from avtomatika.tokens import ClientAccount, hash_token, token_fingerprint

from ..problems import headers_of
from ..services import services
from .rendering import page
from .routes import routes, see_other
from .session import COOKIE, PATH, Session


@routes.get("/login")
def show_login() -> Response:
    """Ask for a token"""
    return _login_page()


@routes.post("/login")
def login() -> Response:
    """Log in with a token"""
    token = request.form.get("token", "").strip()
    try:
        client = services().clients.identify(token)
    except UnauthorizedError as error:
        refused = services().throttle.counted(error, has_token=True)
        if isinstance(refused, TooManyAttemptsError):
            response = _login_page(f"{refused}.", status=HTTPStatus.TOO_MANY_REQUESTS)
            response.headers.update(headers_of(refused))
            return response
        return _login_page("This token is not valid.", status=HTTPStatus.FORBIDDEN)
    return _logged_in(client, token_fingerprint(hash_token(token)), request.form.get("next", ""))


@routes.get("/login/<key>")
def log_in_by_link(key: str) -> Response:
    """Log in with a link"""
    name, fingerprint = services().store.logins.use_link(key) or ("", "")
    client = services().clients.get(name)
    if client is None or not services().clients.has_fingerprint(name, fingerprint):
        raise ExpiredError("this link was used or has expired: ask for another one, or log in with a token")
    return _logged_in(client, fingerprint, request.args.get("next", ""))


@routes.post("/logout")
def logout() -> Response:
    """Log out"""
    session: Session = g.session
    services().store.logins.end(session.digest)
    response = see_other("pages.show_login")
    response.delete_cookie(COOKIE, path=PATH)
    return response


def _logged_in(client: ClientAccount, fingerprint: str, wanted: str) -> Response:
    """Begin a session and show the page that was *wanted*."""
    store = services().store
    session = Session.create(client, fingerprint, store.logins, now_ms=store.clock.now_ms())
    target = wanted if _is_local(wanted) else url_for("pages.show_overview")
    response = make_response(redirect(target, HTTPStatus.SEE_OTHER))
    return session.set_cookie(response, store.keyring.secret)


def _is_local(path: str) -> bool:
    """Return True for a path of this site, not of another one: browsers read a backslash as a slash."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()


def _login_page(fault: str | None = None, *, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = page("login.html", status=status, fault=fault, next=request.values.get("next", ""))
    session: Session = g.session
    return session.set_cookie(response, services().store.keyring.secret)
