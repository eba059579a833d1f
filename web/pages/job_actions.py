"""Actions on many jobs: a preview of what they would change, then a part of the jobs with each request."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from avtomatika.core.machine.rerun import START
from avtomatika.errors import InvalidRequestError
from avtomatika.schemas.api_job_lists import MOST_JOBS, ActionRequestSchema

from ..api import job_actions
from .jobs import fields_of, given_filter
from .rendering import page
from .routes import routes

#: What the pages call the actions.
WORDS = {
    "cancel": ("Cancel", "cancelled"),
    "retry": ("Retry", "continued from the state that failed"),
    "retry_from_start": ("Run again from the start", "started again"),
    "approve": ("Approve", "approved"),
    "reject": ("Reject", "rejected"),
}


@routes.post("/jobs/actions/preview")
def preview_action() -> Response:
    """Show what an action would change"""
    found = job_actions.act(_wanted(request.form, dry_run=True))
    return page("job_action.html", found=found, form=_kept(request.form), words=_words(), total=None)


@routes.post("/jobs/actions")
def run_action() -> Response:
    """Act on the next part of the jobs, and show how many are done"""
    form = request.form
    result = job_actions.act(_wanted(form, dry_run=False))
    done, refused = _number(form, "done") + result["done"], _number(form, "refused") + result["refused"]
    return page(
        "job_action.html",
        found=None,
        result=result,
        done=done,
        refused=refused,
        total=_number(form, "total"),
        form=_kept(form),
        words=_words(),
    )


def _words() -> tuple[str, str]:
    return WORDS.get(request.form.get("action", ""), ("Act", "done"))


def _wanted(form: Mapping[str, str], *, dry_run: bool) -> dict[str, Any]:
    """Return the request to the API that a form stands for. Raises InvalidRequestError."""
    body: dict[str, Any] = {name: form.get(name) or None for name in ("action", "cursor", "comment")}
    body["dry_run"] = dry_run
    if body["action"] == "retry_from_start":
        body |= {"action": "retry", "from": START}
    if form.get("scope") == "all":
        given = {name: value for name, value in given_filter(form).items() if name not in ("cursor", "limit")}
        body["filter"] = fields_of(given)
    else:
        body["ids"] = request.form.getlist("job")[:MOST_JOBS]
        if not body["ids"]:
            raise InvalidRequestError("select at least one job, or choose all that match")
    try:
        loaded: dict[str, Any] = ActionRequestSchema().load(body)
    except ValidationError as error:
        raise InvalidRequestError(f"invalid: {', '.join(error.messages_dict)}", fields=error.messages_dict) from None
    return loaded


def _kept(form: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the fields that the next form sends again."""
    kept = {"action", "scope", "comment", *given_filter(form)} - {"cursor", "limit"}
    return [(name, value) for name, values in request.form.lists() for value in values if name in kept | {"job"}]


def _number(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0
