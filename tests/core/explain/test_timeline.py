"""The timeline of a job: a row for each state and branch, with a bar for each time."""

from avtomatika.core.explain.timeline import MOST_ROWS, Timeline, timeline
from avtomatika.core.job import HistoryEntry, RecordedEntry


def recorded(*entries: tuple[int, HistoryEntry]) -> list[RecordedEntry]:
    return [RecordedEntry(seq, seq, at_ms, entry) for seq, (at_ms, entry) in enumerate(entries, start=1)]


def bars(drawn: Timeline) -> list[tuple[str, list[tuple[str, int, int | None]]]]:
    return [(row.label, [(bar.kind, bar.start_ms, bar.end_ms) for bar in row.bars]) for row in drawn.rows]


CREATED = (1000, HistoryEntry("job_created", state="probe"))
ENTERED = (1010, HistoryEntry("state_entered", state="probe"))


def task(event: str, at_ms: int, *, attempt: int = 1, branch: int = 0, **data: object) -> tuple[int, HistoryEntry]:
    return at_ms, HistoryEntry(event, state="probe", task_id=f"g0-1.1.{branch}", attempt=attempt, data=data)


def test_a_task_is_queued_then_runs() -> None:
    entries = recorded(
        CREATED,
        ENTERED,
        task("task_dispatched", 1010),
        task("task_taken", 1200),
        task("task_succeeded", 1900, go_to="end"),
        (1900, HistoryEntry("state_entered", state="end")),
        (1900, HistoryEntry("job_finished", state="end")),
    )

    drawn = timeline(entries, now_ms=9999, has_ended=True)

    assert (drawn.start_ms, drawn.end_ms) == (1000, 1900)
    assert bars(drawn) == [
        ("probe", [("queued", 1000, 1010), ("done", 1010, 1010), ("queued", 1010, 1200), ("done", 1200, 1900)]),
        ("end", [("done", 1900, 1900)]),
    ]


def test_a_failed_attempt_is_followed_by_its_back_off() -> None:
    entries = recorded(
        CREATED,
        ENTERED,
        task("task_dispatched", 1010),
        task("task_taken", 1020),
        task("task_failed", 1100, error={"code": "X"}),
        task("task_retried", 1100, attempt=2, delay_seconds=1),
        task("task_taken", 2100, attempt=2),
    )

    [(_, found)] = bars(timeline(entries, now_ms=2500, has_ended=False))

    assert found[3:] == [("failed", 1020, 1100), ("waiting", 1100, 2100), ("running", 2100, 2500)]


def test_a_child_that_is_a_branch_has_its_own_row() -> None:
    entries = recorded(
        CREATED,
        ENTERED,
        task("child_started", 1010, branch=1, blueprint="thumb", child_id="g0-1-1-1"),
        task("branch_finished", 1500, branch=1),
    )

    assert bars(timeline(entries, now_ms=2000, has_ended=False))[1:] == [("thumb 1", [("done", 1010, 1500)])]


def test_a_question_lasts_until_its_decision() -> None:
    entries = recorded(
        CREATED,
        ENTERED,
        (1020, HistoryEntry("approval_requested", state="probe")),
        (5000, HistoryEntry("decision_made", state="probe", data={"go_to": "end"})),
    )

    [(_, found)] = bars(timeline(entries, now_ms=6000, has_ended=False))

    assert found[-1] == ("asking", 1020, 5000)


def test_branches_have_rows_up_to_a_limit() -> None:
    branches = [task("task_dispatched", 1010, branch=number, task_type="resize") for number in range(1, 300)]

    drawn = timeline(recorded(CREATED, ENTERED, *branches), now_ms=2000, has_ended=False)

    assert len(drawn.rows) == MOST_ROWS
    assert drawn.omitted == 299 - (MOST_ROWS - 1)
    assert bars(drawn)[1] == ("resize 1", [("queued", 1010, 2000)])


def test_a_job_without_a_history_has_an_empty_timeline() -> None:
    assert timeline([], now_ms=5, has_ended=False) == Timeline(0, 5)
