"""Ended jobs are read from the archive as they were read from the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avtomatika.archive import open_archive
from avtomatika.core.job import JobStatus
from avtomatika.errors import HistoryUnavailableError, SettingsError, UnreadableRecordError
from avtomatika.store import JobFilter, Store

from .conftest import Archived


def test_a_job_is_the_same_in_the_archive(house: Archived) -> None:
    large = {"text": "x" * 20_000, "list": ["y" * 2000] * 9, "note": "grüße\n\0"}
    [job_id] = house.end(initial_data=large, labels={"shop": "north", "year": "2026"})
    house.store.note(job_id, {"event_type": "late_result", "reason": "a line\nand another"})
    before = house.whole(job_id)
    house.move([job_id])

    assert house.whole(job_id) == before
    assert [each.seq for each in house.store.history(job_id, after=1, limit=1)[0]] == [2]
    assert [each.entry.event_type for each in next(house.store.histories([job_id]))][-1] == "job_finished"
    assert house.store.load("another") is None
    assert house.store.history("another") == ([], None)


def test_the_page_of_a_job_explains_an_archived_one(house: Archived) -> None:
    [job_id] = house.end()
    house.move([job_id])
    [explained] = house.store.read_together(house.store.read_explained(job_id, entries=10))

    assert explained is not None
    job, entries, facts = explained
    assert (job.id, len(entries), facts.live_state.in_flight) == (job_id, 2, {})


def test_a_list_walks_server_and_archive_exactly_once(house: Archived) -> None:
    made = [job_id for _ in range(6) for job_id in house.end(5)]
    house.move(made[::3])
    house.move(made[10:15])

    for limit in (1, 2, 7, 50):
        assert house.ids(limit=limit) == sorted(made, reverse=True)
        assert house.ids(limit=limit, oldest_first=True) == sorted(made)


def test_jobs_that_move_while_they_are_listed_are_neither_lost_nor_repeated(house: Archived) -> None:
    made = house.end(40)
    found, cursor = list[str](), None
    while True:
        jobs, cursor = house.store.list_jobs(JobFilter(archived=True, limit=3, cursor=cursor))
        found += [job.id for job in jobs]
        house.move(made[len(found) : len(found) + 5] + made[-len(found) :][:2])
        if cursor is None:
            break

    assert found == sorted(made, reverse=True)


def test_a_list_of_several_shards_walks_them_and_the_archive_while_jobs_move(
    open_house: Callable[..., Archived], tmp_path: Path
) -> None:
    house = open_house(f"sqlite:///{tmp_path / 'history.db'}", shards=4)
    made = [job_id for _ in range(12) for job_id in house.end(3)]
    assert len({house.keys.of(job_id).shard for job_id in made}) > 1
    times = {job_id: job.created_ms for job_id, job in zip(made, house.store.load_many(made), strict=True) if job}
    newest = sorted(made, key=lambda job_id: (times[job_id], job_id), reverse=True)
    found, cursor = list[str](), None
    while True:
        jobs, cursor = house.store.list_jobs(JobFilter(archived=True, limit=4, cursor=cursor))
        found += [job.id for job in jobs]
        house.move(newest[len(found) :][1::3] + newest[: len(found)][-2:])
        if cursor is None:
            break

    assert found == newest
    assert house.ids(limit=7, oldest_first=True) == newest[::-1]


def test_a_job_in_both_is_listed_once(house: Archived) -> None:
    """An orchestrator may die between archiving and deletion."""
    made = house.end(3)
    house.client.zadd("{avt.g0}:retention", dict.fromkeys(made, 0))
    house.archive.save(house.archiver._read_stored(made[:2]))

    assert house.ids() == sorted(made, reverse=True)
    house.move(made)
    assert house.ids() == sorted(made, reverse=True)


def test_jobs_are_found_by_each_filter(house: Archived) -> None:
    problem = {"code": "DISK_FULL", "message": "Kein Platz: 100%_Größe"}
    [failed] = house.end(status=JobStatus.FAILED, error=problem, labels={"shop": "north", "year": "2026"})
    [other] = house.end(labels={"shop": "south", "year": "2026"}, client="bob")
    house.move([failed, other])
    created_ms = house.store.load(failed).created_ms  # type: ignore[union-attr]

    assert house.ids(status="failed") == house.ids(status=("error", "failed")) == [failed]
    assert house.ids(client="bob") == house.ids(labels=(("shop", "south"), ("year", "2026"))) == [other]
    assert (
        set(house.ids(labels=(("year", "2026"),)))
        == set(house.ids(blueprint="video", state="start"))
        == {failed, other}
    )
    assert house.ids(text="disk_full") == house.ids(text="kein platz") == house.ids(text="100%_GRößE") == [failed]
    assert (
        house.ids(text="none") == house.ids(text="100_") == house.ids(skill="encode") == house.ids(blueprint="x") == []
    )
    assert failed in house.ids(created_after_ms=created_ms, created_before_ms=created_ms + 1)
    assert failed in house.ids(created_after_ms=created_ms, oldest_first=True)
    assert house.ids(created_before_ms=created_ms) == house.ids(created_before_ms=created_ms, oldest_first=True) == []


def test_what_cannot_be_read_is_archived_as_it_is(house: Archived) -> None:
    odd, other, gone = house.end(3)
    house.client.hset(f"{{avt.g0}}:job:{odd}", "doc", b"\xff no JSON")
    house.client.delete(f"{{avt.g0}}:job:{gone}", f"{{avt.g0}}:job:{other}:history")
    house.client.set(f"{{avt.g0}}:job:{other}:history", "foreign")
    house.move([odd, other, gone])

    with pytest.raises(UnreadableRecordError, match=odd):
        house.store.load(odd)
    assert house.store.load(other).status == "finished"  # type: ignore[union-attr]
    assert house.store.load(gone) is None


def test_old_jobs_leave_the_archive(open_house: Callable[..., Archived], uri: str) -> None:
    house = open_house(uri, retention_days=30)
    old = house.end(3, labels={"a": "b"})
    house.client.hset(f"{{avt.g0}}:job:{old[0]}", "updated", 1)
    house.client.hset(f"{{avt.g0}}:job:{old[1]}", "updated", 2)
    house.expire(old)
    house.archiver.run_once()
    house.client.delete("{avt.g0}:claim:archived jobs")
    house.archiver.run_once()

    assert house.ids() == house.ids(labels=(("a", "b"),)) == [old[2]]


def test_without_an_archive_archived_jobs_cannot_be_listed(redis_url: str) -> None:
    store = Store.connect(redis_url)

    with pytest.raises(SettingsError, match="HISTORY_DATABASE_URI is not set"):
        store.list_jobs(JobFilter(archived=True))
    store.close()


@pytest.mark.parametrize("uri", ["mysql://host/db", "history.db", "sqlite://", "postgresql://host"])
def test_a_uri_that_names_no_database_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="HISTORY_DATABASE_URI"):
        open_archive(uri)


def test_tables_of_a_later_version_are_left_alone(house: Archived, tmp_path: Path) -> None:
    import sqlalchemy as sa

    engine = house.archive._engine  # type: ignore[attr-defined]
    house.archive.load("any")
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO avtomatika_versions VALUES (99)"))
    later = open_archive(engine.url.render_as_string(hide_password=False))
    assert later is not None

    with pytest.raises(HistoryUnavailableError, match="version 99, but this program knows 1"):
        later.load("any")
    later.close()
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM avtomatika_versions WHERE version = 99"))
