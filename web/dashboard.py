"""``/dashboard``: log in with a client token, see the approvals that your jobs wait for, and decide them."""

from http import HTTPStatus

from flask import Response, g, make_response, redirect, request, url_for

from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TooManyAttemptsError,
    UnauthorizedError,
)
from avtomatika.schemas.api_approvals import LONGEST_COMMENT
from avtomatika.store import JobFilter, UnreadableJob

from .api.jobs import callers_job
from .auth import caller
from .pages import notice, page
from .problems import headers_of
from .routes import Routes
from .services import services
from .session import COOKIE, PATH, Session

routes = Routes("dashboard", __name__, url_prefix=PATH, template_folder="templates")

_PAGE = 50
_SEE_OTHER = HTTPStatus.SEE_OTHER
#: Endpoints that need no session.
_PUBLIC = frozenset({"dashboard.show_login", "dashboard.login"})


@routes.before_request
def _authenticate() -> Response | None:
    """Redirect requests without a session to the login page, and reject forms with a wrong CSRF token."""
    now_ms = services().store.clock.now_ms()
    session = Session.of(request, services().store.keyring.secret, now_ms=now_ms)
    client = None if session is None else session.authenticated_client(services().clients, services().store.logins)
    g.session = session or Session.new(now_ms=now_ms)
    if client is not None:
        g.caller = client
    elif request.endpoint not in _PUBLIC:
        return _redirect("dashboard.show_login")
    if request.method == "POST":
        g.session.check_csrf_token(request.form.get("csrf_token", ""))
    return None


@routes.get("")
def show_dashboard() -> Response:
    """Redirect to the approvals"""
    return _redirect("dashboard.show_approvals")


# ---------------------------------------------------------------- sessions


@routes.get("/login")
def show_login() -> Response:
    """Ask for a token"""
    return _login_page()


@routes.post("/login")
def login() -> Response:
    """Log in"""
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
    session = Session.create(client, token, services().store.logins, now_ms=services().store.clock.now_ms())
    return session.set_cookie(_redirect("dashboard.show_approvals"), services().store.keyring.secret)


@routes.post("/logout")
def logout() -> Response:
    """Log out"""
    session: Session = g.session
    services().store.logins.end(session.digest)
    response = _redirect("dashboard.show_login")
    response.delete_cookie(COOKIE, path=PATH)
    return response


# ---------------------------------------------------------------- approvals


@routes.get("/approvals")
def show_approvals() -> Response:
    """Show the approvals that the client's jobs wait for"""
    return _approvals(decided=_decided(request.args.get("decided", "")))


@routes.post("/approvals")
def decide() -> Response:
    """Decide an approval"""
    form = request.form
    comment = form.get("comment", "").strip()
    try:
        if len(comment) > LONGEST_COMMENT:
            raise InvalidRequestError(f"the comment has {len(comment)} characters; at most {LONGEST_COMMENT} are kept")
        job = callers_job(form.get("job", ""))
        decision, token = form.get("decision", ""), form.get("approval", "")
        services().store.decide(job, decision, by=caller().name, comment=comment or None, token=token)
    except (ConflictError, InvalidRequestError, NotFoundError) as error:
        return _approvals(fault=error)
    return _redirect("dashboard.show_approvals", decided=job.id)


@routes.errorhandler(AvtomatikaError)
def _error_page(error: AvtomatikaError) -> Response:
    return notice(error)


def _approvals(*, decided: str | None = None, fault: AvtomatikaError | None = None) -> Response:
    owner = None if caller().is_operator else caller().name
    wanted = JobFilter(
        client=owner,
        status=JobStatus.WAITING_FOR_HUMAN,
        limit=_PAGE,
        cursor=request.args.get("cursor"),
    )
    listed, cursor = services().store.list_jobs(wanted)
    jobs = [job for job in listed if not isinstance(job, UnreadableJob)]
    live_states = services().store.live_states(jobs)
    open_jobs = [job for job, live_state in zip(jobs, live_states, strict=True) if live_state.decision is None]
    status = HTTPStatus.CONFLICT if fault is not None else HTTPStatus.OK
    asked = [(job, waiting) for job in open_jobs if (waiting := waiting_for(job)) is not None]
    return page(
        "approvals.html",
        status=status,
        asked=asked,
        cursor=cursor,
        decided=decided,
        fault=fault,
        client=caller(),
        csrf_token=g.session.csrf_token,
    )


def _decided(job_id: str) -> str | None:
    """Return the decision on a job of the client."""
    try:
        job = callers_job(job_id)
    except NotFoundError:
        return None
    decision = services().store.live_state(job).decision
    return decision or _recorded_decision(job)


def _recorded_decision(job: Job) -> str | None:
    approval = job.state_history.get("approval")
    if not isinstance(approval, dict):
        return None
    return f"{approval.get('decision')} by {approval.get('by')}"


def _login_page(fault: str | None = None, *, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = page("login.html", status=status, fault=fault, csrf_token=g.session.csrf_token)
    session: Session = g.session
    return session.set_cookie(response, services().store.keyring.secret)


def _redirect(endpoint: str, *, decided: str | None = None) -> Response:
    return make_response(redirect(url_for(endpoint, decided=decided), _SEE_OTHER))
