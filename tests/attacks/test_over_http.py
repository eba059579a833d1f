"""Attacks with the address of the web and at most one worker's token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import requests

from avtomatika.web.gateway.signature import signature_of

from .installation import LEASE_SECONDS, PLANTED, WORKERS_TOML, HttpWorker, Installation, raw_request


@pytest.fixture
def one(installation: Installation) -> HttpWorker:
    return installation.worker("one")


@pytest.fixture
def two(installation: Installation) -> HttpWorker:
    return installation.worker("two")


@pytest.fixture
def job_id(installation: Installation) -> Iterator[str]:
    """Create a job that waits for the only worker with the skill ``drive``."""
    job_id = installation.create("ride")
    installation.until_status(job_id, "waiting_for_worker")
    yield job_id
    installation.client("POST", f"/api/v1/jobs/{job_id}/cancel")


# ------------------------------------------------------------ authentication


@pytest.mark.parametrize(
    ("worker_id", "token"),
    [
        ("one", "wrong"),
        ("one", PLANTED["one"][:-1]),
        ("one", PLANTED["two"]),
        ("one", PLANTED["client"]),
        ("one", ""),
    ],
    ids=["wrong", "cut short", "of another worker", "of a client", "none"],
)
def test_a_wrong_token_opens_nothing(installation: Installation, worker_id: str, token: str) -> None:
    worker = installation.worker(worker_id, token)

    answers = [worker.register(), worker.beat(), worker.poll(0), worker.answer({"job_id": "g0-1", "task_id": "t"})]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert worker.ask("POST", "/auth/token").status_code == 403
    assert worker.ask("POST", "/auth/token/refresh", json={"refresh_token": "x"}).status_code == 403


def test_the_shared_token_is_not_for_an_id_that_the_file_names(installation: Installation) -> None:
    assert installation.worker("one", PLANTED["shared"]).register().status_code == 401
    assert installation.worker("anybody", PLANTED["shared"]).register().status_code == 200


def test_a_worker_cannot_speak_for_another_one(one: HttpWorker) -> None:
    assert one.poll(0, worker_id="two").status_code == 401
    assert one.ask("PATCH", "/workers/two", json={}).status_code == 401
    assert one.ask("POST", "/workers/register", json={"worker_id": "two"}).status_code == 401
    assert one.ask("PATCH", "/workers/one", json={}, headers={"X-Worker-ID": "two"}).status_code == 401


def test_a_workers_token_is_none_of_a_client(installation: Installation, one: HttpWorker, job_id: str) -> None:
    for path in ("", "/cancel", "/retry", "/approve"):
        method = "POST" if path else "GET"
        assert installation.client(method, f"/api/v1/jobs/{job_id}{path}", token=PLANTED["one"]).status_code == 401


# ---------------------------------------------------------------- results


def test_a_result_of_a_worker_that_does_not_hold_the_task_is_refused(
    installation: Installation, one: HttpWorker, two: HttpWorker, job_id: str
) -> None:
    task = one.take()

    stolen = two.answer(task)
    unknown = one.answer({"job_id": job_id, "task_id": f"{job_id}.9.0"})

    assert stolen.json()["status"] == unknown.json()["status"] == "ignored"
    assert installation.job(job_id)["status"] == "waiting_for_worker"
    assert [note["worker_id"] for note in installation.notes(job_id)] == ["one", "two"]
    assert one.answer(task).json() == {"status": "accepted"}
    installation.until_status(job_id, "finished")


def test_an_altered_result_is_refused_and_the_true_one_taken(
    installation: Installation, one: HttpWorker, job_id: str
) -> None:
    task = one.take()
    body = json.loads(one.result(task, data={"share": 5e-5, "whole": 2.0}, timestamp=1))
    signed = body | {"security": {"signature": signature_of(body, PLANTED["one"]), "signer_id": "one"}}

    altered = one.send(json.dumps(signed | {"status": "failure"}).encode())
    by_another = one.send(json.dumps(signed | {"security": {**signed["security"], "signer_id": "two"}}).encode())
    without = one.send(json.dumps(signed | {"security": {"signer_id": "one"}}).encode())

    assert [answer.status_code for answer in (altered, by_another, without)] == [403] * 3
    assert installation.job(job_id)["status"] == "waiting_for_worker"
    assert {note["reason"] for note in installation.notes(job_id)} == {
        "Invalid cryptographic signature",
        "Immediate sender ID mismatch",
        "Missing required cryptographic signature",
    }
    assert one.send(json.dumps(signed).encode()).json() == {"status": "accepted"}
    installation.until_status(job_id, "finished")


def test_a_replay_is_answered_as_the_first_time_and_changes_nothing(
    installation: Installation, one: HttpWorker, two: HttpWorker, job_id: str
) -> None:
    raw = one.result(one.take())
    first = one.send(raw)
    installation.until_status(job_id, "finished")
    before = installation.job(job_id)

    again = [one.send(raw), one.send(raw)]
    by_another = two.send(raw)

    assert [answer.json() for answer in again] == [first.json()] * 2
    assert by_another.status_code == 401
    assert installation.job(job_id) == before
    assert installation.events(job_id).count("task_succeeded") == 1


def test_a_result_of_an_old_attempt_is_refused(installation: Installation, one: HttpWorker, job_id: str) -> None:
    first = one.take()
    one.answer(first, status="failure", error={"code": "TRANSIENT_ERROR", "message": "a flat tyre"})
    second = one.take()

    late = one.answer(first, attempt=1, data={"late": True})

    assert second["attempt"] == 2
    assert late.json()["status"] == "ignored"
    assert installation.job(job_id)["status"] == "waiting_for_worker"
    assert one.answer(second, attempt=2).json() == {"status": "accepted"}
    installation.until_status(job_id, "finished")


# ------------------------------------------------------------ malformed input


def test_a_body_that_is_too_large_is_refused_unread(installation: Installation, one: HttpWorker) -> None:
    large = b'{"data": "' + b"x" * 3_000_000 + b'"}'

    told = one.send(large)
    in_chunks = one.ask("POST", "/tasks/result", data=iter([large]), headers={"Content-Type": "application/json"})
    by_client = installation.client("POST", "/api/v1/jobs/ride", data=large)

    assert told.status_code == 413
    assert in_chunks.status_code == 413
    assert by_client.status_code == 413
    assert installation.are_all_alive


@pytest.mark.parametrize("depth", [100, 100_000])
@pytest.mark.parametrize("brackets", ["[]", '{"":}'])
def test_deep_json_is_refused(
    installation: Installation, one: HttpWorker, job_id: str, depth: int, brackets: str
) -> None:
    deep = brackets[:-1] * depth + "1" + brackets[-1] * depth
    task = one.take()

    answer = one.send(one.result(task).replace(b'"data": {}', b'"data": {"x": %b}' % deep.encode()))

    assert answer.status_code == 400
    assert one.answer(task).json() == {"status": "accepted"}
    assert installation.are_all_alive


def test_line_breaks_in_headers_and_paths_make_no_headers_and_no_lines(installation: Installation) -> None:
    heads = [
        b"X-Worker-ID: one\rSet-Cookie: a=b\r\nX-Worker-Token: x",
        b"X-Worker-ID: one\nX-Evil: 1\r\nX-Worker-Token: x",
        b"X-Worker-ID: one\x00two\r\nX-Worker-Token: x",
        b"X-Client-Token: x\r\n Set-Cookie: a=b",
    ]
    requests_ = [b"GET /_worker/workers/one/tasks/next HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % head for head in heads]
    requests_.append(b"GET /api/v1/jobs/%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

    answers = [raw_request(installation.base_url, request) for request in requests_]

    for answer in answers:
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert head.split()[1] in (b"400", b"401"), answer
        assert b"set-cookie" not in head.lower()
        assert b"evil" not in head.lower()


def test_a_worker_cannot_forge_lines_of_the_log(installation: Installation, one: HttpWorker) -> None:
    evil = "x\n2026-01-01 INFO avtomatika: all is well \x1b[2J"

    one.answer({"job_id": "g0-1", "task_id": evil})
    installation.worker(evil.replace("\n", "%0a").replace("\x1b", ""), "x").beat()

    lines = (installation.folder / "web.log").read_text().splitlines()
    assert any("all is well" in line for line in lines), "the attack was seen"
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert not any("\x1b" in line for line in lines)


# ------------------------------------------------------------ temporary tokens


def tokens(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_token_for_a_while_is_as_good_as_the_workers_own(
    installation: Installation, one: HttpWorker, job_id: str
) -> None:
    given = tokens(one.ask("POST", "/auth/token"))
    worker = installation.worker("one", given["access_token"])

    assert (given["expires_in"], given["worker_id"]) == (3600, "one")
    assert worker.register().status_code == 200
    assert worker.answer(worker.take()).json() == {"status": "accepted"}
    assert installation.worker("two", given["access_token"]).register().status_code == 401
    assert worker.ask("POST", "/auth/token").status_code == 403, "it makes no others"


def test_a_refresh_token_is_good_once_and_a_stolen_one_ends_all(installation: Installation, one: HttpWorker) -> None:
    first = tokens(one.ask("POST", "/auth/token"))
    second = tokens(refresh(one, first))
    repeated = tokens(refresh(one, first))  # as if the response was lost
    for key in installation.redis.scan_iter("{avt.g0}:session:refresh:*"):
        if installation.redis.hget(key, "used"):
            installation.redis.hincrby(key, "used", -31)

    stolen = refresh(one, first)

    assert stolen.status_code == 403
    for pair in (first, second, repeated):
        assert installation.worker("one", pair["access_token"]).register().status_code == 401
        assert refresh(one, pair).status_code == 403


def test_a_refresh_token_of_another_worker_is_refused(one: HttpWorker, two: HttpWorker) -> None:
    answer = refresh(two, tokens(one.ask("POST", "/auth/token")))

    assert answer.status_code == 403
    assert "owner mismatch" in answer.text


def refresh(worker: HttpWorker, pair: dict[str, Any]) -> requests.Response:
    headers = {"X-Worker-ID": worker.id, "X-Worker-Token": ""}
    return worker.ask("POST", "/auth/token/refresh", json={"refresh_token": pair["refresh_token"]}, headers=headers)


# ---------------------------------------------------------------- revoked


def test_who_is_revoked_is_out_within_three_seconds(
    installation: Installation, one: HttpWorker, two: HttpWorker, job_id: str
) -> None:
    pair = tokens(one.ask("POST", "/auth/token"))
    task = one.take()
    answers: list[requests.Response] = []
    polling = threading.Thread(target=lambda: answers.append(one.poll(20)))
    polling.start()

    begun = monotonic()
    installation.write_workers(WORKERS_TOML.replace(f'[one]\ntoken = "{PLANTED["one"]}"\n', ""))
    try:
        polling.join(3)
        assert not polling.is_alive(), "the waiting poll ends"
        assert monotonic() - begun < 3
        assert answers[0].status_code == 401
        assert one.beat(task["task_id"]).status_code == 401
        assert installation.worker("one", PLANTED["shared"]).register().status_code == 401
        assert installation.worker("one", pair["access_token"]).register().status_code == 401
        assert one.ask("POST", "/auth/token").status_code == 403
        assert refresh(one, pair).status_code == 403
        assert one.answer(task).status_code == 401
        assert installation.notes(job_id) == []

        taken_over = two.take()
        assert taken_over["task_id"] == task["task_id"]
        assert monotonic() - begun > LEASE_SECONDS / 2
        assert two.answer(taken_over).json() == {"status": "accepted"}
        installation.until_status(job_id, "finished")
    finally:
        installation.write_workers(WORKERS_TOML)
