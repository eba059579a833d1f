"""History -> stays: by really run jobs, in memory, with a clock that jumps."""

from __future__ import annotations

from typing import Any

from avtomatika import Blueprint, PermanentError, TransientError
from avtomatika.core.graph.visits import Visit, visits_in
from avtomatika.core.job import HistoryEntry, RecordedEntry
from avtomatika.testing import NEVER_ANSWERS, run


def history_of(bp: Blueprint, data: dict[str, Any] | None = None, **more: Any) -> list[RecordedEntry]:
    return list(run(bp, data, **more).history)


def one_task(**transitions: str) -> Blueprint:
    bp = Blueprint("one")

    @bp.handler(is_start=True, may_go_to=list(transitions.values()))
    def start(actions: Any) -> None:
        actions.dispatch_task("work", transitions=transitions, result_timeout=60)

    @bp.handler(is_end=True)
    def done() -> None: ...

    if "other" in transitions.values():
        bp.handler("other", is_end=True)(lambda: None)
    return bp


def ways(found: list[Visit]) -> list[tuple[str, str | None, str | None]]:
    return [(visit.state, visit.outcome, visit.target) for visit in found]


def test_a_stay_ends_with_the_result_that_leads_on() -> None:
    found = visits_in(history_of(one_task(success="done", failure="other"), skills={"work": {}}))

    assert ways(found) == [("start", "success", "done"), ("done", None, None)]
    assert (found[0].attempts, found[0].failures) == (1, 0)


def test_attempts_that_failed_are_counted() -> None:
    tries = iter([TransientError("busy"), TransientError("busy")])

    def work() -> None:
        for error in tries:
            raise error

    found = visits_in(history_of(one_task(success="done", failure="other"), skills={"work": work}))

    assert (found[0].outcome, found[0].attempts, found[0].failures) == ("success", 3, 2)
    assert (found[0].duration_ms or 0) > 1000, "the pauses between them count"


def test_a_stay_lasts_until_its_time_limit() -> None:
    found = visits_in(history_of(one_task(success="done", timeout="other"), skills={"work": NEVER_ANSWERS}))

    assert ways(found)[0] == ("start", "timeout", "other")
    assert found[0].duration_ms == 60_000


def test_a_state_in_which_a_job_comes_to_rest_is_left_for_nowhere() -> None:
    found = visits_in(history_of(one_task(success="done"), skills={"work": PermanentError("no")}))

    assert ways(found) == [("start", None, None)]
    assert found[0].duration_ms is not None
    assert found[0].failures == 1


def test_branches_are_counted_until_they_are_joined() -> None:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def split(actions: Any) -> None:
        actions.dispatch_parallel([{"type": "resize"}] * 3, aggregate_into="collect")

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    found = visits_in(history_of(bp, skills={"resize": {}}))

    assert ways(found) == [("split", "success", "collect"), ("collect", None, None)]
    assert (found[0].branches, found[0].attempts, found[0].failures) == (3, 3, 0)


def test_waiting_takes_its_time() -> None:
    bp = Blueprint("nap")

    @bp.handler(is_start=True)
    def sleep(actions: Any) -> None:
        actions.wait(90, then="awake")

    @bp.handler(is_end=True)
    def awake() -> None: ...

    found = visits_in(history_of(bp))

    assert ways(found)[0] == ("sleep", None, "awake")
    assert found[0].duration_ms == 90_000


def test_people_and_other_jobs_lead_on_by_their_words() -> None:
    entries = [
        HistoryEntry("state_entered", "ask"),
        HistoryEntry("approved", "ask", data={"decision": "approved", "by": "me", "go_to": "pay"}),
        HistoryEntry("state_entered", "pay"),
        HistoryEntry("child_finished", "pay", data={"status": "error", "go_to": "ask"}),
        HistoryEntry("state_entered", "ask"),
        HistoryEntry("timer_fired", "ask", data={"error": {"code": "APPROVAL_TIMEOUT"}, "go_to": "done"}),
    ]

    found = visits_in(RecordedEntry(seq, seq, 1000 * seq, entry) for seq, entry in enumerate(entries, 1))

    assert ways(found) == [("ask", "approved", "pay"), ("pay", "failure", "ask"), ("ask", "timeout", "done")]
