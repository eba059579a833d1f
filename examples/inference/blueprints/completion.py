"""One answer of the model. Tenants take turns, and each has at most eight prompts in the model at a time."""

from dataclasses import dataclass

from avtomatika import Blueprint


@dataclass
class Question:
    tenant: str
    text: str


bp = Blueprint("completion", api_endpoint="jobs/completion", input=Question, fairness_key="{initial_data[tenant]}")


@bp.handler(is_start=True)
@bp.limit(key="tenant-{initial_data[tenant]}", concurrency=8)
def ask(text, actions):
    actions.dispatch_task("generate", {"messages": [text]}, transitions={"success": "answered", "failure": "failed"})


@bp.handler(is_end=True)
def answered(answer, batch):
    return {"answer": answer, "batch": batch}


@bp.handler(is_end="failed")
def failed(error):
    return error
