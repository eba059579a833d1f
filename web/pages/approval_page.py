"""``/approve``: the page on which the holder of a link sees the question and decides. Opening it decides nothing."""

from http import HTTPStatus
from typing import Any

from flask import Response, request

from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.job import Job
from avtomatika.errors import AvtomatikaError, ConflictError, ExpiredError, InvalidRequestError

from ..approval_links import ApprovalLink
from ..routes import Routes
from ..services import services
from .approvals import record_decision
from .input_form import fields_of
from .rendering import notice, page

routes = Routes("approval-page", __name__, url_prefix="/approve", template_folder="templates")

#: Maximum length of the name of the person who decides.
_LONGEST_NAME = 64


@routes.get("")
def show_question() -> Response:
    """Show the question"""
    sealed = request.args.get("link", "")
    link = _link(sealed)
    return _question(_waiting_job(link), sealed, recipient=link.recipient)


@routes.post("")
def decide() -> Response:
    """Decide the approval"""
    sealed = request.form.get("link", "")
    link = _link(sealed)
    job = _waiting_job(link)
    try:
        name = _name(request.form.get("name", ""))
        by = f"link for {link.recipient}: {name}" if link.recipient else f"link: {name}"
        record_decision(job, link.token, by=by)
    except InvalidRequestError as error:
        return _question(job, sealed, recipient=link.recipient, fault=str(error))
    return page("decided.html", decision=request.form["decision"], name=name)


@routes.errorhandler(AvtomatikaError)
def _error_page(error: AvtomatikaError) -> Response:
    return notice(error)


def _link(sealed: str) -> ApprovalLink:
    return ApprovalLink.opened(sealed, services().store.keyring.secret, now_ms=services().store.clock.now_ms())


def _waiting_job(link: ApprovalLink) -> Job:
    """Return the job that waits for the approval of *link*. Raises ExpiredError, or ConflictError with the decision if
    it was made."""
    job = services().store.load(link.job_id)
    if job is None:
        raise ExpiredError("the job has been deleted")
    services().store.approval(job, link.token)
    decision = services().store.live_state(job).decision
    if decision is not None:
        raise ConflictError(f"already decided: {decision}")
    return job


def _question(job: Job, sealed: str, *, recipient: str, fault: str | None = None) -> Response:
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    asked, form = waiting_for(job), request.form
    schema = None if asked is None else asked.form
    fields = () if schema is None else fields_of(schema, None if fault is None else form)
    context: dict[str, Any] = {"job": job, "asked": asked, "fields": fields, "link": sealed, "recipient": recipient}
    return page("approval.html", status=status, fault=fault, given=form, **context)


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise InvalidRequestError("Please say who you are.")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequestError(f"A name has at most {_LONGEST_NAME} printable characters.")
    return name
