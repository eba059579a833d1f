"""An agent with one tool. A person decides about refunds of more than 100."""

from dataclasses import dataclass

from avtomatika import Blueprint


@dataclass
class Letter:
    customer: str
    text: str


bp = Blueprint("agent", api_endpoint="jobs/agent", input=Letter)


@bp.handler(is_start=True)
def think(text, actions, observations=()):
    """Ask the model for its next step: a tool, or the answer."""
    actions.dispatch_task(
        "generate",
        {"messages": [text, *observations]},
        transitions={"success": "answered", "tool": "check_tool", "failure": "failed"},
    )


@bp.handler
def check_tool(customer, amount, actions):
    if amount <= 100:
        actions.go_to("use_tool")
    else:
        actions.await_human_approval(
            "support", f"Refund {amount} to {customer}?", transitions={"approved": "use_tool", "rejected": "declined"}
        )


@bp.handler
def use_tool(customer, amount, actions):
    actions.dispatch_task(
        "refund", {"customer": customer, "amount": amount}, transitions={"success": "observe", "failure": "failed"}
    )


@bp.handler
def declined(job_data, actions):
    job_data["observation"] = "we cannot refund that"
    actions.go_to("observe")


@bp.handler
def observe(observation, job_data, actions):
    job_data["observations"] = [*job_data.get("observations", ()), observation]
    actions.go_to("think")


@bp.handler(is_end=True)
def answered(answer):
    return answer


@bp.handler(is_end="failed")
def failed(error):
    return error
