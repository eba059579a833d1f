"""Records that this version cannot read affect one job, never a list or a sweep."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from avtomatika.core.job import JobStatus
from avtomatika.errors import UnreadableRecordError
from avtomatika.store import JobFilter, UnreadableJob

from .conftest import House

#: Invalid values for the fields of a job's hash.
FOREIGN: dict[str, dict[str, Any]] = {
    "a field of a task": {"doc": lambda doc: doc["tasks"][0].update(later=1)},
    "a task without an id": {"doc": lambda doc: doc["tasks"][0].pop("id")},
    "tasks of another kind": {"doc": lambda doc: doc.update(tasks=7)},
    "a field of a wait": {"doc": lambda doc: doc.update(wait={"later": 1})},
    "a wait of another kind": {
        "doc": lambda doc: doc.update(wait={"kind": "timer", "token": "x", "state": "s", "transitions": {}})
    },
    "a wait with a foreign time": {
        "doc": lambda doc: doc.update(
            wait={"kind": "timer", "token": "x", "state": "s", "transitions": {}, "details": {"seconds": "soon"}}
        )
    },
    "a fan-out of another kind": {"doc": lambda doc: doc.update(fan_out=[1])},
    "no state": {"doc": lambda doc: doc.pop("state")},
    "a state of another kind": {"doc": lambda doc: doc.update(state=5)},
    "data of another kind": {"doc": lambda doc: doc.update(state_history=[])},
    "an error of another kind": {"doc": lambda doc: doc.update(error="x")},
    "a list": {"doc": b"[]"},
    "no JSON": {"doc": b"{"},
    "infinity": {"doc": b'{"steps": Infinity}'},
    "no text": {"doc": b"\xff\xfe"},
    "no client": {"init": lambda init: init.pop("client")},
    "a parent of another kind": {"init": lambda init: init.update(parent={"later": 1})},
    "an init that is not JSON": {"init": b"nan"},
    "a status of a later version": {"status": b"hibernating"},
    "a version that is not a number": {"v": b"nan"},
    "a time that is not a number": {"updated": b"1e400"},
}


def damage(house: House, job_id: str, foreign: dict[str, Any]) -> None:
    for field, change in foreign.items():
        if callable(change):
            value = orjson.loads(house.client.hget(house.keys(job_id).job(job_id), field))
            change(value)
            change = orjson.dumps(value)
        house.client.hset(house.keys(job_id).job(job_id), field, change)


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_record_that_cannot_be_read_is_its_own_affair(house: House, foreign: dict[str, Any]) -> None:
    bad = house.waiting()
    good = house.create()
    damage(house, bad.id, foreign)

    listed, _ = house.store.list_jobs(JobFilter())
    pages = list(house.store.plans.unfinished_jobs())

    assert {job.id for job in listed} == {bad.id, good.id}
    [unreadable] = [job for job in listed if isinstance(job, UnreadableJob)]
    assert unreadable.error is not None
    assert unreadable.error["code"] == "UNREADABLE_RECORD"
    assert good.id in {job.id for page in pages for job in page}
    assert house.store.load(good.id) == good
    with pytest.raises(UnreadableRecordError, match=bad.id):
        house.store.load(bad.id)


def test_a_job_that_cannot_be_read_is_quarantined_and_its_record_stays(house: House) -> None:
    bad = house.waiting()
    damage(house, bad.id, FOREIGN["a field of a task"])
    before = house.client.hgetall(house.keys(bad.id).job(bad.id))
    [job] = house.store.load_many([bad.id])
    assert isinstance(job, UnreadableJob)

    house.store.quarantine(job)
    house.store.quarantine(job)

    after = house.client.hgetall(house.keys(bad.id).job(bad.id))
    assert (after[b"doc"], after[b"init"]) == (before[b"doc"], before[b"init"])
    assert (after[b"status"], int(after[b"v"])) == (b"quarantined", int(before[b"v"]) + 1)
    assert [each.id for each in house.store.list_jobs(JobFilter(status=JobStatus.QUARANTINED))[0]] == [bad.id]
    assert house.store.list_jobs(JobFilter(status=bad.status))[0] == []
    history, _ = house.store.history(bad.id)
    assert [entry.entry.event_type for entry in history].count("job_quarantined") == 1


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_job_that_cannot_be_read_expires(house: House, foreign: dict[str, Any]) -> None:
    bad = house.waiting()
    damage(house, bad.id, foreign)
    house.client.zadd(house.keys(bad.id).retention(), {bad.id: 1})

    assert house.sweeper.expire_jobs().done == 1

    assert not house.client.exists(house.keys(bad.id).job(bad.id))
    assert house.store.list_jobs(JobFilter())[0] == []


def test_entries_and_notes_that_cannot_be_read_hide_no_others(house: House) -> None:
    job = house.waiting()
    count = len(house.store.history(job.id)[0])
    for entry in (b"", b"x", b"1 2 {", b'1 2 {"event_type": 7, "later": 1}', b"nan inf []", b'9 1e99 {"data": 3}'):
        house.client.rpush(house.keys(job.id).history(job.id), entry)
        house.client.lpush(house.keys(job.id).notes(job.id), entry)

    history, _ = house.store.history(job.id)

    assert len(history) == count + 6
    assert {entry.entry.event_type for entry in history[count:]} == {"unreadable_entry"}
    assert len(house.store.notes(job.id)) == 6


@pytest.mark.parametrize("stored", [b"{", b"[]", b'{"skills": [{"name": 5}, 7], "concurrency": "many"}'])
def test_workers_with_foreign_records_hide_no_others(house: House, stored: bytes) -> None:
    registry = house.store.registry
    registry.register("good", {"type": "x", "skills": []})
    registry.register("bad", {"type": "x", "skills": []})
    house.client.hset(
        "{avt.g0}:worker:bad", mapping={"record": stored, "beat": stored, "turn": b"x", "reputation": b"nan"}
    )

    assert [worker.worker_id for worker in registry.workers()] == ["bad", "good"]
    assert registry.skills("bad") == ()
    registry.fleet(with_holdings=True)


@pytest.mark.parametrize("command", [("SET", "x"), ("RPUSH", "x"), ("SADD", "x")])
def test_what_is_no_hash_under_the_key_of_a_job_is_its_own_affair(house: House, command: tuple[str, str]) -> None:
    bad, good = house.waiting(), house.create()
    house.client.delete(house.keys(bad.id).job(bad.id))
    house.client.execute_command(command[0], house.keys(bad.id).job(bad.id), command[1])

    loaded = house.store.load_many([bad.id, good.id])

    assert isinstance(loaded[0], UnreadableJob)
    assert loaded[1] == good
    assert {job.id for job in house.store.list_jobs(JobFilter())[0]} == {bad.id, good.id}
    assert good.id in {job.id for page in house.store.plans.unfinished_jobs() for job in page}
    house.store.quarantine(loaded[0])
    house.client.zadd(house.keys(bad.id).retention(), {bad.id: 1})
    assert house.sweeper.expire_jobs().done == 1
    assert not house.client.exists(house.keys(bad.id).job(bad.id))
