"""Explains why a job ended as it did."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json

#: Maximum number of characters of a result in a text.
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Cause:
    """*code* is for programs, *text* for people."""

    code: str
    text: str
    facts: Mapping[str, Json] = field(default_factory=dict)


def cause_of_end(job: Job, ending: HistoryEntry | None) -> Cause | None:
    """Return why *job*, which has ended, did not finish; None if it did. *ending* is its last history entry."""
    if job.status is JobStatus.FINISHED:
        return None
    data = {} if ending is None or ending.data is None else ending.data
    state = job.current_state
    if job.status is JobStatus.CANCELLED:
        who = data.get("by") or "an unknown client"
        text = f"{who} cancelled it {_in(state)}."
        return Cause("cancelled_by", text, {"by": data.get("by"), "state": state})
    error = job.error or data.get("error") or {}
    code, message = error.get("code"), str(error.get("message") or "").rstrip(".")
    facts = {"state": state, "error": code}
    if code == "DEADLINE_EXCEEDED":
        limit = job.execution_timeout_seconds
        text = f"It did not end within its execution_timeout of {limit} s; it was {_in(state)} at that time."
        return Cause("execution_timeout", text, facts | {"execution_timeout": limit})
    if "result" not in data:
        return Cause("ended_by_error", f"The error {_in(state)} was {code}: {message}.", facts)
    text = f"It reached {state!r}, a state that ends jobs as failed{_with(job.result)}."
    if error:
        text += f" The last error before was {code}: {message}."
    return Cause("failed_by_blueprint", text, facts)


def _in(state: str | None) -> str:
    return "before its first state" if state is None else f"in state {state!r}"


def _with(result: Json) -> str:
    if result is None:
        return ""
    text = json.dumps(result, ensure_ascii=False)
    return f", with the result {text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'}"
