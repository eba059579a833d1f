"""Publish a document: check it, have an editor review it in a form, and publish it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from avtomatika import Blueprint


@dataclass
class Document:
    title: str
    text: str


@dataclass
class Review:
    """The form of the editor."""

    category: Literal["news", "manual"]
    note: str = ""


bp = Blueprint("document", api_endpoint="jobs/document", input=Document)


@bp.handler(is_start=True)
def checking(text, actions):
    actions.dispatch_task(
        "check", {"text": text}, transitions={"success": "review", "incomplete": "returned", "failure": "returned"}
    )


@bp.handler
def review(title, words, actions):
    actions.await_human_approval(
        "editors",
        f"Publish '{title}', {words} words?",
        transitions={"approved": "publishing", "rejected": "returned", "timeout": "escalation"},
        timeout=timedelta(days=3),
        form=Review,
        role="editor",
    )


@bp.handler
def escalation(title, actions):
    """No editor has decided within three days: ask the chief."""
    actions.await_human_approval(
        "chief",
        f"No editor has reviewed '{title}'. Publish it?",
        transitions={"approved": "publishing", "rejected": "returned", "timeout": "returned"},
        timeout=timedelta(days=1),
        form=Review,
        assignees=["carla"],
    )


@bp.handler
def publishing(title, text, decision_data: Review, actions):
    actions.dispatch_task(
        "publish",
        {"title": title, "text": text, "category": decision_data.category},
        transitions={"success": "published", "failure": "returned"},
    )


@bp.handler(is_end=True)
def published(file, approval):
    return {"file": file, "approved_by": approval["by"]}


@bp.handler(is_end="failed")
def returned(gaps=(), approval=None, error=None):
    return {"gaps": gaps, "review": approval, "error": error}
