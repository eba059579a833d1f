"""Actions on many jobs over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika import broker, transport
from avtomatika.core.blueprint.action_types import AwaitApproval, DispatchTask, End, GoTo
from avtomatika.core.events import Result
from avtomatika.core.job import HistoryEntry, Job, JobStatus
from avtomatika.core.machine import decisions
from avtomatika.core.step import Step
from avtomatika.schemas import wire
from avtomatika.store import Commit, NewJob, Store
from avtomatika.transport import Outgoing

from .conftest import created_id, nightly, problem, video

URL = "/api/v1/jobs/actions"
ENCODE = DispatchTask("encode", {}, transitions={"success": "publish", "failure": "failed"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No orchestrator runs here: an answer that waited for one would wait in vain."""
    monkeypatch.setattr("avtomatika.web.api.control._WAIT_SECONDS", 0.0)


def failed(store: Store, count: int, *, client: str = "alice", plan: Any = video.plan, **doc: Any) -> list[str]:
    """Create jobs that have failed."""
    created = store.create_many([NewJob(plan=plan, client=client, initial_data={"n": n}) for n in range(count)])
    jobs = [job for job in store.load_many([each.job_id for each in created]) if job is not None]
    ended = {"status": JobStatus.FAILED, "error": {"code": "DISK_FULL", "message": "no space"}, **doc}
    history = (HistoryEntry("job_failed", state=doc.get("current_state", "start")),)
    commits = [Commit(job, Step(job.evolve(**ended), history=history), ()) for job in jobs]
    assert all(reply.is_written for reply in store.commit(commits))
    return [job.id for job in jobs]


def act(client: FlaskClient, action: str, **body: Any) -> dict[str, Any]:
    response = client.post(URL, json={"action": action, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json
    return answer


def to_the_end(client: FlaskClient, action: str, **body: Any) -> list[dict[str, Any]]:
    parts = [act(client, action, **body)]
    while parts[-1]["next"] is not None:
        parts.append(act(client, action, **body, cursor=parts[-1]["next"]))
    return parts


def test_600_failed_jobs_are_retried_in_two_requests_and_each_of_them_once(
    alice: FlaskClient, store: Store, redis_url: str
) -> None:
    ids = failed(store, 600)
    with transport.connect(redis_url) as server:
        before = server.info("stats")["total_reads_processed"]
        parts = to_the_end(alice, "retry", filter={"status": "failed", "text": "disk"})
        reads = server.info("stats")["total_reads_processed"] - before

    assert [(part["matched"], part["done"], part["refused"]) for part in parts] == [(500, 500, 0), (100, 100, 0)]
    assert parts[0]["blueprints"] == {"video": 500}
    assert reads < 300  # large pipelines are read in several parts
    pages = to_the_end(alice, "retry", filter={"status": "failed"})
    assert [(part["done"], part["refused"]) for part in pages] == [(0, 500), (0, 100)]
    assert len(pages[0]["refusals"]) == 20
    assert pages[0]["refusals"][0]["reason"].startswith("the job was already retried as g0-")
    assert alice.get("/api/v1/jobs/counts").json["counts"] == {"failed": 600, "pending": 600}
    reruns = alice.get("/api/v1/jobs?status=pending&limit=200").json["jobs"]
    assert {job["retry_of"] for job in reruns} <= set(ids)


def test_a_dry_run_counts_by_blueprint_and_changes_nothing(alice: FlaskClient, bob: FlaskClient, store: Store) -> None:
    ids = failed(store, 30)
    failed(store, 3, plan=nightly.plan)
    failed(store, 5, client="bob")

    previewed = act(alice, "retry", filter={"created_after": "1d"}, dry_run=True)
    chosen = act(alice, "retry", ids=[*ids[:2], ids[0], "g0-unknown"], dry_run=True)

    assert (previewed["matched"], previewed["blueprints"]) == (33, {"video": 30, "nightly": 3})
    assert (previewed["is_exact"], previewed["done"], previewed["next"]) == (True, 0, None)
    assert (chosen["matched"], chosen["refused"]) == (2, 1)
    assert act(bob, "retry", filter={}, dry_run=True)["matched"] == 5
    assert act(alice, "cancel", filter={}, dry_run=True)["matched"] == 0
    assert alice.get("/api/v1/jobs/counts").json["counts"] == {"failed": 33}


def test_ids_that_the_action_does_not_apply_to_are_refused_with_the_reason(
    alice: FlaskClient, bob: FlaskClient, store: Store
) -> None:
    [mine] = failed(store, 1)
    running, other = created_id(alice), created_id(bob)

    answer = act(alice, "retry", ids=[mine, running, other, "g0-unknown"])

    assert (answer["matched"], answer["done"], answer["refused"]) == (1, 1, 3)
    assert answer["refusals"] == [
        {"job_id": running, "code": "conflict", "reason": "the job is pending"},
        {"job_id": other, "code": "not_found", "reason": f"no job {other!r}"},
        {"job_id": "g0-unknown", "code": "not_found", "reason": "no job 'g0-unknown'"},
    ]


@pytest.mark.parametrize("is_served", [True, False])
def test_jobs_are_cancelled_with_their_next_commit_or_at_once(
    alice: FlaskClient, store: Store, request: pytest.FixtureRequest, is_served: bool
) -> None:
    move = request.getfixturevalue("move") if is_served else None
    ids = [created_id(alice, labels={"team": "red"}) for _ in range(3)]
    created_id(alice)

    answer = act(alice, "cancel", filter={"label": ["team=red"]})
    again = act(alice, "cancel", filter={"label": ["team=red"]})

    assert (answer["done"], again["done"]) == (3, 0)
    if move is not None:
        assert [refusal["reason"] for refusal in again["refusals"]] == ["the job is already being cancelled"] * 3
        while store.count("cancelled") < 3:
            move()
    assert {job["id"] for job in alice.get("/api/v1/jobs?status=cancelled").json["jobs"]} == set(ids)


def test_approvals_are_decided_if_they_offer_the_decision(
    alice: FlaskClient, store: Store, move: Callable[..., Job]
) -> None:
    ids = []
    for words in ({"approved": "publish", "rejected": "failed"}, {"yes": "publish"}):
        created_id(alice)
        ids.append(move(GoTo("encode"), AwaitApproval("mail", "Shall we?", words)).id)

    answer = act(alice, "approve", filter={"status": "waiting_for_human"}, comment="all of them")
    late = act(alice, "reject", ids=ids[:1])

    assert (answer["matched"], answer["done"]) == (2, 1)
    assert answer["refusals"] == [
        {"job_id": ids[1], "code": "invalid_request", "reason": "'approved' is not one of the decisions yes"}
    ]
    assert late["refusals"][0]["reason"] == "already decided: approved by alice"
    decided = move(End("done"))
    assert (decided.id, decided.state_history["approval"]["comment"]) == (ids[0], "all of them")


def test_jobs_are_rerun_from_the_state_in_which_they_failed(
    alice: FlaskClient, store: Store, move: Callable[..., Job], redis_url: str
) -> None:
    created_id(alice, initial_data={"n": 1})
    [task] = move(GoTo("encode"), ENCODE).tasks.values()
    learnt = {"width": 640, "large": "x" * 100_000}
    result = Result(task.id.partition(".")[0], task.id, 1, "success", learnt)
    with broker.connect(redis_url) as connection, connection.channel() as channel:
        channel.settle([Outgoing("avt.steps", video.plan.key("encode", "success"), wire.dump_event(result))], ())
    publishing = move()
    step = decisions.broken(publishing, message="publish is broken")
    assert store.commit([Commit(store.load(publishing.id) or publishing, step, ())])[0].is_written

    answer = act(alice, "retry", ids=[publishing.id])
    again = act(alice, "retry", ids=[publishing.id], **{"from": "start"})
    single = alice.post(f"/api/v1/jobs/{publishing.id}/retry?from=failed_state")
    stored = alice.get(single.headers["Location"]).json
    ended = [move(End("done")), move(End("done"))]

    assert (answer["done"], again["done"], again["refused"], single.status_code) == (1, 0, 1, 202)
    assert (stored["current_state"], stored["state_history"], stored["result"]) == ("publish", learnt, learnt)
    for job in ended:
        assert (job.status, job.retry_of, job.initial_data) == ("finished", publishing.id, {"n": 1})
        assert (job.state_history, job.transitions) == (learnt, 1)
    problem(alice.post(f"/api/v1/jobs/{publishing.id}/retry?from=here"), 409, "conflict")
    [gone] = failed(store, 1, current_state="transcode")
    [refusal] = act(alice, "retry", ids=[gone])["refusals"]
    assert refusal["reason"] == "the blueprint no longer has the state 'transcode', in which the job failed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "delete", "filter": {}}, "action"),
        ({"action": "retry"}, "filter"),
        ({"action": "retry", "ids": ["g0-1"], "filter": {}}, "filter"),
        ({"action": "retry", "ids": []}, "ids"),
        ({"action": "retry", "ids": ["g0-1"] * 501}, "ids"),
        ({"action": "retry", "ids": ["g0-1:history"]}, "ids"),
        ({"action": "retry", "ids": ["g0-1\n"]}, "ids"),
        ({"action": "retry", "filter": {"status": "finished"}}, "filter"),
        ({"action": "retry", "filter": {"status": ["failed", "odd"]}}, "filter"),
        ({"action": "retry", "filter": {"colour": "red"}}, "filter"),
        ({"action": "retry", "filter": {"label": "team=red"}}, "filter"),
        ({"action": "retry", "filter": {"created_after": 5}}, "filter"),
        ({"action": "retry", "filter": {"text": ["x"]}}, "filter"),
        ({"action": "retry", "filter": []}, "filter"),
        ({"action": "retry", "filter": {}, "dry_run": "yes"}, "dry_run"),
        ({"action": "retry", "filter": {}, "cursor": "x"}, "cursor"),
        ({"action": "approve", "filter": {}, "comment": "x" * 2001}, "comment"),
    ],
)
def test_a_request_that_cannot_be_is_refused(alice: FlaskClient, body: dict[str, Any], field: str) -> None:
    assert list(problem(alice.post(URL, json=body), 422, "invalid_request")["errors"]) == [field]
