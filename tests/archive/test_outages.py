"""A database that is away delays the deletion of jobs, and loses none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.core.job import JobStatus
from avtomatika.diagnosis import problems, server_findings
from avtomatika.errors import HistoryUnavailableError
from avtomatika.orchestrator.sweeps import Archiving
from avtomatika.store import archiver

from ..support.waiting import wait_until
from .conftest import Archived


@pytest.fixture
def away(open_house: Callable[..., Archived], tmp_path: Path) -> Archived:
    """An archive in a folder that does not exist yet."""
    return open_house(f"sqlite:///{tmp_path / 'later' / 'history.db'}")


def told(house: Archived) -> list[str | None]:
    return [each.kind for each in problems(house.store.overview.read(), ())]


def test_jobs_stay_until_the_database_is_available(away: Archived, tmp_path: Path) -> None:
    made = away.end(3)
    away.expire(made)

    with pytest.raises(HistoryUnavailableError, match="the history database is unavailable: OperationalError"):
        away.archiver.run_once()
    assert [job is not None for job in away.store.load_many(made)] == [True] * 3
    assert "history_unavailable" in told(away)
    [finding] = [each for each in server_findings(away.store) if each.subject == "history"]
    assert (finding.state, finding.text.split(":")[0]) == ("fault", "the history database is unavailable")

    (tmp_path / "later").mkdir()
    away.move(made)
    assert away.ids() == sorted(made, reverse=True)
    assert "history_unavailable" not in told(away)
    [finding] = [each for each in server_findings(away.store) if each.subject == "history"]
    assert finding.state == "ok"


def test_what_the_server_has_can_be_read_meanwhile(away: Archived) -> None:
    [job_id] = away.end()

    assert away.store.load(job_id) is not None
    assert len(away.store.history(job_id)[0]) == 2
    with pytest.raises(HistoryUnavailableError):
        away.store.load("another")


def test_the_loop_goes_on_after_an_outage(away: Archived, tmp_path: Path) -> None:
    from avtomatika.cli.background_loops import run_in_background

    made = away.end(3)
    away.expire(made)
    with run_in_background(Archiving(away.archiver), "archiving", on_crash=lambda: None):
        wait_until(lambda: "history_unavailable" in told(away), 20, "it is reported")
        (tmp_path / "later").mkdir()
        wait_until(lambda: not away.client.exists("{avt.g0}:jobs"), 60, "the jobs are moved")

    assert away.ids() == sorted(made, reverse=True)


def test_one_that_the_database_refuses_stays_and_is_not_in_the_way(
    house: Archived, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, odd, last = house.end(3)
    if house.archive._engine.dialect.name == "sqlite":  # type: ignore[attr-defined]
        pytest.skip("SQLite refuses no value that a job can have")
    house.client.hset(f"{{avt.g0}}:job:{odd}", "created", "9" * 15)
    import sqlalchemy as sa

    with house.archive._transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.text("ALTER TABLE avtomatika_jobs ALTER created_ms TYPE numeric(14)"))
    try:
        house.expire([first, odd, last])
        house.archiver.run_once()
    finally:
        with house.archive._transaction() as connection:  # type: ignore[attr-defined]
            connection.execute(sa.text("ALTER TABLE avtomatika_jobs ALTER created_ms TYPE bigint"))

    assert [job is not None for job in house.store.load_many([first, odd, last])] == [False, True, False]
    assert house.client.zscore("{avt.g0}:retention", odd) > 0
    assert f"the history database refuses job {odd}: numeric field overflow" in caplog.text


def test_memory_is_bounded_by_parts(house: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "_CHUNK_BYTES", 100_000)
    made = house.end(5, initial_data={"text": "x" * 60_000})
    saved: list[int] = []
    save = house.archive.save

    def counted(stored: Any) -> frozenset[str]:
        saved.append(len(stored))
        return save(stored)

    monkeypatch.setattr(house.archive, "save", counted)
    house.move(made)

    assert saved == [1] * 5
    assert house.store.load(made[4]).initial_data == {"text": "x" * 60_000}  # type: ignore[union-attr]


def test_a_job_that_has_not_ended_is_never_archived(house: Archived) -> None:
    [ended] = house.end(status=JobStatus.CANCELLED)
    [job_id] = [house.store.create(new).job_id for new in [house.new()]]
    house.move([ended])

    assert house.archive.load(job_id) is None
    assert set(house.ids()) == {ended, job_id}
