"""Reruns of ended jobs from the state in which they failed. Pure."""

from collections.abc import Iterable, Mapping

from avtomatika.core.job import HistoryEntry, Job, Json
from avtomatika.core.plan import EndKind, Plan

from .task_results import merged


def failed_state(plan: Plan, job: Job, history: Iterable[HistoryEntry]) -> tuple[str, Mapping[str, Json]]:
    """Return the state in which *job* failed, or was cancelled, and the data with which it entered that state.

    If a transition led to a failed end, it is the state of the last error that no success followed, else the last
    state before. The results of branches are gone with the job, so their aggregator is replaced by their fan-out.
    """
    data: Mapping[str, Json] = {}
    entered = {plan.start: data}
    fan_outs = dict[str, str]()
    error_in = left = None
    for entry in history:
        facts = entry.data or {}
        data = _learnt(data, entry.event_type, facts)
        if entry.event_type == "job_created":
            entered[str(entry.state)] = data
        if (target := facts.get("go_to")) is None:
            continue
        entered[target], left = data, entry.state
        if entry.event_type != "state_entered":  # a handler that reacts to an error does not correct it
            error_in = entry.state if "error" in facts else None
        if entry.event_type == "branches_joined":
            fan_outs[target] = str(entry.state)
    state = str(job.current_state)
    if state in plan.states and plan.states[state].end is EndKind.FAILED:
        state = error_in or left or state
    state = fan_outs.get(state, state)
    return state, entered.get(state, data)


def _learnt(data: Mapping[str, Json], event_type: str, facts: Mapping[str, Json]) -> Mapping[str, Json]:
    match event_type:
        case "job_created" | "state_entered":
            return {**data, **facts.get("state_history", {})}
        case "task_succeeded":
            return merged(data, facts.get("data"))
        case "child_finished":
            return merged(data, facts.get("result"))
        case "approved" | "rejected" | "decided":
            made = {name: value for name, value in facts.items() if name not in ("go_to", "data")}
            return {**data, "approval": made} | ({"decision_data": facts["data"]} if "data" in facts else {})
        case "signal_taken":
            return {**data, "signal_data": facts.get("data")}
    return data
