"""The history in words."""

import pytest

from avtomatika.core.explain.narrative import has_failed, narrate
from avtomatika.core.job import HistoryEntry

ERROR = {"code": "TRANSIENT_ERROR", "message": "the codec crashed"}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (HistoryEntry("job_created", data={"client": "shop"}), "Created by shop"),
        (HistoryEntry("state_entered", "check", data={"go_to": "fine"}), "Entered state check; next state: fine"),
        (HistoryEntry("task_dispatched", "a", "j.1.0", 1, data={"task_type": "encode"}), "Task 'encode' queued"),
        (
            HistoryEntry("task_dispatched", "a", "j.1.7", 2, data={"task_type": "encode"}),
            "Task 'encode' (branch 7) queued, attempt 2",
        ),
        (HistoryEntry("task_taken", "a", "j.1.0", 1, "w1"), "The task started on w1"),
        (
            HistoryEntry("task_succeeded", "a", "j.1.0", 1, "w1", 2340, {"go_to": "b"}),
            "The task ended with 'success' after 2.3 s on w1; next state: b",
        ),
        (
            HistoryEntry("task_failed", "a", "j.1.0", 2, "w1", 84, {"error": ERROR}),
            "The task failed after 84 ms on w1, attempt 2: TRANSIENT_ERROR – the codec crashed",
        ),
        (
            HistoryEntry("task_retried", "a", "j.1.0", 3, data={"delay_seconds": 2.0}),
            "The task is retried in 2.0 s, attempt 3",
        ),
        (
            HistoryEntry("decision_made", "a", data={"by": "ada", "decision": "approved", "comment": "fine"}),
            "ada decided 'approved': fine",
        ),
        (
            HistoryEntry("child_started", "a", "j.1.7", 1, data={"child_id": "j-1-7", "blueprint": "thumb"}),
            "Started child job j-1-7 (branch 7)",
        ),
        (
            HistoryEntry("branches_joined", "a", data={"branches": 9, "failed": 2, "go_to": "b"}),
            "All branches have ended, 2 of them failed; next state: b",
        ),
        (HistoryEntry("job_cancelled", data={"by": "ops"}), "The job was cancelled by ops"),
        (HistoryEntry("plan_changed", data={}), "Plan changed"),
    ],
)
def test_an_entry_is_told_in_words(entry: HistoryEntry, text: str) -> None:
    assert narrate(entry) == text


def test_errors_are_found() -> None:
    assert has_failed(HistoryEntry("task_failed", data={"error": ERROR}))
    assert has_failed(HistoryEntry("job_failed"))
    assert not has_failed(HistoryEntry("task_succeeded", data={"go_to": "b"}))
