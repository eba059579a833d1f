"""A job that was written down runs again as it ran then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any, TypedDict

import marshmallow
import pydantic
import pytest

from avtomatika import Blueprint, PermanentError, TransientError
from avtomatika.client.recording import Recording
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.errors import InvalidRequestError, NotFoundError
from avtomatika.schemas.api_fields import rfc3339
from avtomatika.testing import NEVER_ANSWERS, NEVER_TAKEN, RunResult, run
from avtomatika.testing.replay import recorded_steps, replay, replayed_steps


def mixed(*, later: str = "done", days: int | None = None) -> Blueprint:
    """A task with retries, a wait, a fan-out, a question, and a job of another blueprint."""
    bp = Blueprint(name="mixed", execution_timeout=days and days * 24 * 3600)

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        transitions = {"success": "rest", "failure": "failed", "timeout": "failed"}
        actions.dispatch_task("look", {}, transitions=transitions, result_timeout=60, dispatch_timeout=60)

    @bp.handler
    def rest(actions: Any) -> None:
        actions.wait(7 * 24 * 3600, then="spread")

    @bp.handler
    def spread(parts: list[str], actions: Any) -> None:
        actions.dispatch_parallel([{"type": "part", "params": {"name": name}} for name in parts], aggregate_into="ask")

    @bp.aggregator
    def ask(aggregation_results: dict[str, Any], state_history: Any, actions: Any) -> None:
        state_history["sizes"] = [each["data"]["size"] for each in aggregation_results.values()]
        transitions = {"approved": "deep", "rejected": "failed", "timeout": "failed"}
        actions.await_human_approval("desk", "Go on?", transitions=transitions, timeout=3600)

    @bp.handler
    def deep(actions: Any) -> None:
        actions.run_blueprint("inner", {}, transitions={"success": "last", "failure": "failed"})

    @bp.handler(may_go_to=["done", "failed"])
    def last(actions: Any) -> None:
        actions.go_to(later.strip())  # computed, for the compiler

    @bp.handler(is_end=True)
    def done(sizes: list[int], inner: str) -> Any:
        return [sizes, inner]

    @bp.handler(is_end="failed")
    def failed(error: Any) -> Any:
        return error and error["code"]

    return bp


def inner() -> Blueprint:
    bp = Blueprint(name="inner")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("dig", {}, transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done(gold: str) -> Any:
        return {"inner": gold}

    return bp


def busy_at_first(attempt: int) -> dict[str, Any]:
    if attempt < 3:
        raise TransientError("busy")
    return {"parts": ["a", "bb", "ccc"]}


SKILLS = {"look": busy_at_first, "part": lambda params: {"size": len(params["name"])}, "dig": {"gold": "42 g"}}
COURSES: dict[str, dict[str, Any]] = {
    "to its end": {"skills": SKILLS, "approvals": {"ask": "approved"}},
    "rejected": {"skills": SKILLS, "approvals": {"ask": "rejected"}},
    "asked in vain": {"skills": SKILLS, "approvals": {"ask": NEVER_TAKEN}},
    "no result in time": {"skills": SKILLS | {"look": NEVER_ANSWERS}},
    "nobody there": {"skills": SKILLS | {"look": NEVER_TAKEN}},
    "one branch fails": {"skills": SKILLS | {"part": PermanentError("no")}},
    "an unknown word": {"skills": SKILLS | {"look": {"status": "splendid"}}},
    "a handler raises": {"skills": SKILLS | {"look": {"other": 1}}},
    "the inner one rests": {"skills": SKILLS | {"dig": PermanentError("rock")}, "approvals": {"ask": "approved"}},
}


def recording_of(ended: RunResult) -> Recording:
    """As ``jobs export`` would write it, and ``replay`` read it."""
    job = {
        "id": ended.job.id,
        "blueprint_name": ended.job.blueprint,
        "client": ended.job.client,
        "initial_data": ended.job.initial_data,
        "priority": ended.job.priority,
        "labels": ended.job.labels,
    }
    names = ("event_type", "state", "task_id", "attempt", "data")
    events = [
        {
            "seq": each.seq,
            "timestamp": rfc3339(1_800_000_000_000 + each.timestamp_ms),
            **{name: getattr(each.entry, name) for name in names},
        }
        for each in ended.history
    ]
    written = Recording(job, events, tuple(map(recording_of, ended.children))).as_json()
    return Recording.of(json.loads(json.dumps(written)))


@pytest.mark.parametrize("course", COURSES)
def test_whatever_way_it_went_it_goes_again(course: str) -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES[course])

    now = replay(recording_of(then), [mixed(), inner()])

    assert replayed_steps(now) == recorded_steps(recording_of(then)) == replayed_steps(then)
    assert len(replayed_steps(then)) > 2
    assert (now.status, now.result, now.job.state_history) == (then.status, then.result, then.job.state_history)


def test_a_deadline_comes_again_at_its_time() -> None:
    then = run(mixed(days=3), {}, blueprints=[inner()], **COURSES["to its end"])

    now = replay(recording_of(then), [mixed(), inner()])  # the job's own: the blueprint has none any more

    assert then.error is not None
    assert then.error["code"] == "DEADLINE_EXCEEDED"
    assert replayed_steps(now) == replayed_steps(then)


def test_code_that_decides_otherwise_is_seen() -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES["to its end"])

    now = replay(recording_of(then), [mixed(later="failed"), inner()])

    assert (then.status, now.status) == ("finished", "failed")
    assert replayed_steps(now)[:-3] == replayed_steps(then)[:-3]
    assert replayed_steps(now)[-3:] != replayed_steps(then)[-3:]


def test_a_handler_that_was_mended_goes_on_to_what_nobody_has_answered() -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES["a handler raises"])

    mended = Blueprint(name="mixed")

    @mended.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("look", {}, transitions={"success": "spread"})

    @mended.handler
    def spread(actions: Any, other: int) -> None:
        actions.dispatch_task("new", {"other": other}, transitions={"success": "done"})

    @mended.handler(is_end=True)
    def done() -> None: ...

    now = replay(recording_of(then), [mended])

    assert then.status == "error"
    assert (now.status, now.states) == ("waiting_for_worker", ("start", "spread"))


def test_resuming_and_cancelling_come_when_nothing_else_is_left() -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES["an unknown word"])
    recording = recording_of(then)
    last = recording.events[-1]
    resumed = {**last, "seq": last["seq"] + 1, "event_type": "job_resumed", "data": {"by": "me"}}
    answered = {"task_id": f"{then.job.id}.2.0", "attempt": 1, "data": {"outcome": "success", "data": {"parts": []}}}
    events = [
        *recording.events,
        resumed,
        {**last, "event_type": "task_dispatched", **answered, "data": {"task_type": "look"}},
        {**last, "event_type": "task_succeeded", **answered},
        {**last, "seq": last["seq"] + 9, "event_type": "job_cancelled", "data": {"by": "me"}},
    ]

    now = replay(Recording(recording.job, events), [mixed(), inner()])

    assert (now.status, now.states) == ("cancelled", ("start", "start", "rest"))  # in its week of rest


def test_the_client_is_who_it_was() -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES["rejected"])
    asked: list[str] = []

    replay(recording_of(then), [mixed(), inner()], client_of=lambda name: asked.append(name) or ClientInfo(name))

    assert set(asked) == {"testing"}


def test_a_blueprint_that_is_not_here_is_named() -> None:
    then = run(mixed(), {}, blueprints=[inner()], **COURSES["rejected"])

    with pytest.raises(NotFoundError, match="no blueprint 'mixed'"):
        replay(recording_of(then), [inner()])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "this is not a job that avtomatika jobs export wrote"),
        ({"id": "g0-1"}, "this is not a job that avtomatika jobs export wrote"),
        ({"kind": "avtomatika job", "v": 2}, "the version of the file is 2, but must be 1"),
        ({"kind": "avtomatika job", "v": 1, "job": {}}, "the file is incomplete: KeyError 'children'"),
        ({"kind": "avtomatika job", "v": 1, "job": {"id": 1}, "events": [], "children": []}, "the file is incomplete"),
    ],
)
def test_what_is_no_recording_is_refused(content: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        Recording.of(content)


class Refund(TypedDict):
    amount: int
    day: date


@dataclass
class Shipping:
    day: date
    amount: int = 1


class Gift(pydantic.BaseModel):
    amount: int
    day: date


class Loan(marshmallow.Schema):
    amount = marshmallow.fields.Integer(required=True)
    day = marshmallow.fields.Date(required=True)


@pytest.mark.parametrize("form", [Refund, Shipping, Gift, Loan], ids=lambda form: form.__name__)
def test_the_data_of_a_decision_has_the_type_of_its_form_then_and_again(form: type) -> None:
    seen: list[Any] = []
    bp = Blueprint(name="asking")

    @bp.handler(is_start=True)
    def ask(actions: Any) -> None:
        transitions = {"approved": "done", "rejected": "done"}
        actions.await_human_approval("desk", "How much?", transitions=transitions, form=form)

    def done(decision_data: Any) -> Any:
        seen.append(decision_data)

    done.__annotations__["decision_data"] = form
    bp.handler(is_end=True)(done)
    given = {"amount": 2, "day": "2026-11-30"}

    then = run(bp, {}, approvals={"ask": ("approved", given)})
    now = replay(recording_of(then), [bp])

    assert (then.status, now.status) == ("finished", "finished")
    assert then.job.state_history["decision_data"] == now.job.state_history["decision_data"] == given
    assert len(seen) == 2
    assert [each["day"] if isinstance(each, dict) else each.day for each in seen] == [date(2026, 11, 30)] * 2
    with pytest.raises(InvalidRequestError, match="amount 'x' is not of type 'integer'"):
        run(bp, {}, approvals={"ask": ("approved", {**given, "amount": "x"})})


def test_signals_arrive_again_with_their_data() -> None:
    bp = Blueprint(name="paying")

    @bp.handler(is_start=True)
    def ask(actions: Any) -> None:
        actions.wait_for("paid", transitions={"received": "more"})

    @bp.handler
    def more(signal_data: Any, job_data: dict[str, Any], actions: Any) -> None:
        job_data["first"] = signal_data
        actions.wait_for("paid", transitions={"received": "done", "timeout": "done"}, timeout=60)

    @bp.handler(is_end=True)
    def done(first: Any, signal_data: Any) -> Any:
        return [first, signal_data]

    both = run(bp, signals={"paid": [{"n": 1}, {"n": 2}]})
    one = run(bp, signals={"paid": {"n": 1}})

    assert replay(recording_of(both), [bp]).result == both.result == [{"n": 1}, {"n": 2}]
    assert replay(recording_of(one), [bp]).result == one.result == [{"n": 1}, {"n": 1}]
    assert replayed_steps(one) == recorded_steps(recording_of(one))


@pytest.mark.parametrize(
    "policy", [{}, {"max_failures": 2}, {"on_failure": "finish_all"}, {"first_success": True}], ids=str
)
def test_child_branches_run_again_as_they_ended(policy: dict[str, Any]) -> None:
    bp = Blueprint(name="crowd")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_parallel([{"blueprint": "inner"}, {"type": "part"}, {"blueprint": "inner"}], "count", **policy)

    @bp.aggregator(is_end=True)
    def count(aggregation_results: dict[str, Any]) -> Any:
        return [each["status"] for each in aggregation_results.values()]

    ended = run(bp, skills=SKILLS | {"part": PermanentError("no")}, blueprints=[inner()])
    recording = recording_of(ended)

    again = replay(recording, [bp, inner()])

    assert replayed_steps(again) == recorded_steps(recording)
    assert (again.status, again.result) == (ended.status, ended.result)
    assert [child.status for child in again.children] == [child.status for child in ended.children]
