"""The API and the pages show archived jobs like those of the server, to the same clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'avtomatika[history]'")

from avtomatika.archive import open_archive
from avtomatika.core.blueprint.action_types import End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Archiver, Store
from avtomatika.transport import RedisClient, Router

from .conftest import OPERATOR_TOKEN, created_id, problem
from .pages.conftest import browser as browser, log_in


@pytest.fixture
def archived(
    store: Store, redis_url: str, tmp_path: Path, alice: FlaskClient, move: Callable[..., Job]
) -> Iterator[list[str]]:
    """The ids of three finished jobs of alice, the newest first, of which the server has only the newest; another one
    that failed is archived, too."""
    store.archive = open_archive(f"sqlite:///{tmp_path / 'history.db'}")
    assert store.archive is not None
    server = RedisClient.connect(redis_url)
    archiver = Archiver(server, Router(server), archive=store.archive)
    ids = []
    for n in range(3):
        ids.append(created_id(alice, initial_data={"n": n}, labels={"n": str(n)}))
        move(GoTo("publish"), End(n))
    failed = created_id(alice, initial_data={"n": 9}, labels={"is": "broken"})
    move(raised="Boom")
    with redis.Redis.from_url(redis_url) as client:
        client.zadd("{avt.g0}:retention", dict.fromkeys([*ids[:2], failed], 0))
    archiver.run_once()
    with closing(server), closing(store.archive):
        yield ids[::-1]


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json["jobs"]]


def test_jobs_and_histories_are_shown(alice: FlaskClient, archived: list[str]) -> None:
    for n, job_id in enumerate(reversed(archived)):
        job = alice.get(f"/api/v1/jobs/{job_id}").json
        history = alice.get(f"/api/v1/jobs/{job_id}/history").json
        assert (job["status"], job["result"], job["initial_data"]) == ("finished", n, {"n": n})
        assert [each["seq"] for each in history["events"]] == list(range(1, len(history["events"]) + 1))
        assert history["events"][-1]["event_type"] == "job_finished"
        assert alice.get(f"/api/v1/jobs/{job_id}/why").status_code == 200
        assert alice.get(f"/api/v1/jobs/{job_id}/graph").status_code == 200


def test_lists_have_them_if_they_are_asked_for(alice: FlaskClient, archived: list[str]) -> None:
    assert ids(alice.get("/api/v1/jobs")) == archived[:1]
    assert ids(alice.get("/api/v1/jobs?archived=true&status=finished")) == archived
    assert ids(alice.get("/api/v1/jobs?archived=true&status=finished&oldest_first=true")) == archived[::-1]
    assert ids(alice.get("/api/v1/jobs?archived=true&label=n=1")) == archived[1:2]
    page = alice.get("/api/v1/jobs?archived=true&status=finished&limit=2").json
    assert [each["id"] for each in page["jobs"]] == archived[:2]
    assert ids(alice.get(f"/api/v1/jobs?archived=true&status=finished&limit=2&cursor={page['next']}")) == archived[2:]


def test_they_belong_to_their_client(bob: FlaskClient, operator: FlaskClient, archived: list[str]) -> None:
    assert ids(bob.get("/api/v1/jobs?archived=true&status=finished")) == []
    assert ids(operator.get("/api/v1/jobs?archived=true&status=finished&client=alice")) == archived
    problem(bob.get(f"/api/v1/jobs/{archived[-1]}"), 404, "not_found")
    problem(bob.get(f"/api/v1/jobs/{archived[-1]}/history"), 404, "not_found")


def test_an_archived_job_cannot_be_changed(alice: FlaskClient, archived: list[str]) -> None:
    problem(alice.post(f"/api/v1/jobs/{archived[-1]}/cancel"), 409, "conflict")


def test_an_archived_job_can_be_run_again(alice: FlaskClient, archived: list[str]) -> None:
    [failed] = ids(alice.get("/api/v1/jobs?archived=true&status=error,failed"))
    again = alice.post(f"/api/v1/jobs/{failed}/retry").json["job_id"]
    job = alice.get(f"/api/v1/jobs/{again}").json

    assert (job["retry_of"], job["initial_data"], job["labels"]) == (failed, {"n": 9}, {"is": "broken"})


def test_the_pages_show_them(browser: FlaskClient, archived: list[str]) -> None:
    log_in(browser, OPERATOR_TOKEN)
    live, everything = browser.get("/jobs").text, browser.get("/jobs?archived=true").text

    assert [archived[-1] in page for page in (live, everything)] == [False, True]
    assert 'name="archived"' in live
    assert "job_finished" not in live
    assert browser.get(f"/jobs/{archived[-1]}").status_code == 200


def test_without_an_archive_they_cannot_be_listed(alice: FlaskClient, browser: FlaskClient) -> None:
    problem(alice.get("/api/v1/jobs?archived=true&status=finished"), 501, "settings_error")
    log_in(browser, OPERATOR_TOKEN)
    assert 'name="archived"' not in browser.get("/jobs").text


def test_an_unavailable_archive_is_not_a_missing_job(
    alice: FlaskClient, store: Store, tmp_path: Path, move: Callable[..., Job]
) -> None:
    store.archive = open_archive(f"sqlite:///{tmp_path / 'missing' / 'history.db'}")
    job_id = created_id(alice)

    body = problem(alice.get("/api/v1/jobs/g0-01M854CG0886N24BD575GNDYWD"), 503, "history_unavailable")
    assert body["detail"] == "the history database is unavailable; retry later"
    assert alice.get(f"/api/v1/jobs/{job_id}").status_code == 200
    assert alice.get(f"/api/v1/jobs/{job_id}/history").status_code == 200
