"""Workers on the broker whose section of workers.toml names skills: what they may do counts, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Blueprint, broker
from avtomatika.core.events import Result
from avtomatika.core.job import Job
from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.schemas import wire
from avtomatika.tokens import Workers
from avtomatika.worker.links.identity import Identity

from ..support.orchestrators import Stage
from .test_authentication import Intruder, ride
from .test_branches import album
from .test_placement import Crew, film

WORKERS = """
[all]
token = "the-token-of-all"
[some]
token = "the-token-of-some"
skills = ["drive", "resize"]
[others]
token = "the-token-of-others"
skills = ["sing"]
"""


def key_of(worker_id: str) -> WorkerKey:
    return WorkerKey(mac_key_of(f"the-token-of-{worker_id}"))


class Office:
    """Has a workers.toml that orchestrators reload on every read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.write(WORKERS)
        self.workers = Workers(path=folder / "workers.toml", clock=self._clock)

    def write(self, text: str) -> None:
        fresh = self.folder / "fresh"
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        os.replace(fresh, self.folder / "workers.toml")

    def _clock(self) -> float:
        self.now += 2
        return self.now


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def house_of(stage: Callable[..., Stage], office: Office) -> Callable[[Blueprint], Stage]:
    """Create a stage with one orchestrator that uses the office's file."""

    def make(bp: Blueprint) -> Stage:
        house = stage(bp)
        house.orchestrator(skills_of_signer=office.workers.skills_of_signer)
        return house

    return make


HouseOf = Callable[[Blueprint], Stage]


def driven_by(house: Stage, bp: Blueprint, worker_id: str, *, signer: Any = None) -> str:
    """Create a job whose task ``drive`` was answered by *worker_id*."""
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("drive"), signer=signer or key_of(worker_id), worker_id=worker_id)
    return job_id


def turn_until_done_again(house: Stage, job_id: str) -> Job:
    """Run until its task has another attempt."""
    house.turn_until(lambda: any(entry.startswith("task_retried") for entry in house.history(job_id)))
    return house.job(job_id)


@pytest.mark.parametrize("worker_id", ["all", "some"])
def test_a_result_for_a_granted_skill_is_accepted(worker_id: str, house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)

    house.turn_until_status(driven_by(house, bp, worker_id), "finished")


def test_a_result_for_another_skill_is_rejected_and_the_task_dispatched_again(house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)

    job_id = driven_by(house, bp, "others")
    job = turn_until_done_again(house, job_id)

    assert "worker 'others' is not granted the skill 'drive'" in str(job.error)
    [note] = house.store.notes(job_id)
    assert note["event_type"] == "task_result_ignored"
    assert "worker 'others' is not granted the skill 'drive'" in note["reason"]
    [letter] = Intruder(house, bp).dead_letters()
    assert letter[b"reason"].startswith(b"forged")

    house.turn_until(lambda: house.job(job_id).tasks[f"{job_id}.1.0"].is_open)
    house.answer(house.take_task("drive"), signer=key_of("some"), worker_id="some")
    house.turn_until_status(job_id, "finished")


def test_the_skill_is_taken_from_the_job_and_not_from_the_result(house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    delivery, task = house.take_task("drive")
    result = Result(job_id, task.task_id, 1, "success", {}, worker_id="others")
    body = json.loads(wire.dump_result(result, ticket=task.ticket)) | {"task_type": "sing"}

    signed = key_of("others").signed(json.dumps(body, separators=(",", ":")).encode()).decode()
    Intruder(house, bp).publish(signed, "success", **broker.forwarded_headers(delivery.headers))

    turn_until_done_again(house, job_id)


def test_a_result_for_a_closed_task_changes_nothing(house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    delivery, task = house.take_task("drive")
    house.answer((delivery, task), signer=key_of("some"), worker_id="some")
    job = house.turn_until_status(job_id, "finished")

    late = Result(job_id, task.task_id, 1, "failure", worker_id="others")
    body = wire.dump_result(late, ticket=task.ticket, signer=key_of("others"))
    Intruder(house, bp).publish(body, "failure")
    house.turn_until(lambda: bool(house.store.notes(job_id)))

    assert house.job(job_id) == job


def test_a_branch_is_refused_like_any_other_task(house_of: HouseOf) -> None:
    bp = album()
    house = house_of(bp)
    job_id = house.create(bp, count=3)
    house.turn_until_status(job_id, "waiting_for_parallel")

    house.answer(house.take_task("resize"), signer=key_of("some"), worker_id="some")
    house.turn_until(lambda: "branch_finished split" in house.history(job_id))
    house.answer(house.take_task("resize"), signer=key_of("others"), worker_id="others")
    job = turn_until_done_again(house, job_id)

    assert "worker 'others' is not granted the skill 'resize'" in str(job.error)
    assert house.history(job_id).count("branch_finished split") == 1
    house.turn_until(lambda: house.history(job_id)[-1].startswith("task_dispatched"))
    for _ in range(2):
        house.answer(house.take_task("resize"), signer=key_of("some"), worker_id="some", data=1)
    house.turn_until_status(job_id, "finished")


def test_branches_of_a_worker_that_may_do_them_change_no_job(house_of: HouseOf) -> None:
    bp = album()
    house = house_of(bp)
    job_id = house.create(bp, count=3)
    house.turn_until_status(job_id, "waiting_for_parallel")

    for _ in range(3):
        house.answer(house.take_task("resize"), signer=key_of("some"), worker_id="some", data=1)
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [["success", 1]] * 3
    assert job.version == 4


def test_skills_that_change_in_the_file_count_at_once(house_of: HouseOf, office: Office) -> None:
    bp = ride()
    house = house_of(bp)

    office.write(WORKERS.replace('"drive", ', "").replace('"sing"', '"drive"'))

    turn_until_done_again(house, driven_by(house, bp, "some"))
    house.turn_until_status(driven_by(house, bp, "others"), "finished")


def test_what_the_web_has_signed_was_looked_at_there(house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)

    job_id = driven_by(house, bp, "others", signer=house.store.keyring.secret)

    house.turn_until_status(job_id, "finished")


def test_where_workers_have_no_tokens_all_may_do_all(stage: Callable[..., Stage]) -> None:
    bp = ride()
    house = stage(bp)
    house.orchestrator()

    house.turn_until_status(driven_by(house, bp, "others"), "finished")


# ---------------------------------------------------------------- notices


def tell(house: Stage, *notices: wire.Notice) -> None:
    """Publish *notices* as their workers; wait until they are recorded."""
    sent = [
        broker.Outgoing("avt.workers", "taken", wire.dump_notice(notice, key_of(notice.worker_id)))
        for notice in notices
    ]
    with house.connection.channel() as channel:
        channel.settle(sent, ())
    house.turn_until(lambda: house.notices() == 0)


@pytest.mark.parametrize(("worker_id", "is_heard"), [("all", True), ("some", True), ("others", False)])
def test_task_notices_are_accepted_for_granted_skills_only(worker_id: str, is_heard: bool, house_of: HouseOf) -> None:
    bp = ride()
    house = house_of(bp)
    job = house.turn_until_status(house.create(bp), "waiting_for_worker")
    _, task = house.take_task("drive")

    tell(
        house,
        wire.TaskStarted(job.id, task.task_id, 1, worker_id, "start"),
        wire.Progress(job.id, task.task_id, 1, worker_id, 0.5),
    )

    assert ("task_taken start" in house.history(job.id)) is is_heard
    assert house.store.task_workers([(job.id, task.task_id)]) == [worker_id if is_heard else None]
    in_flight = house.store.live_state(job).in_flight.values()
    assert [(hand.worker_id, hand.progress) for hand in in_flight] == ([(worker_id, 0.5)] if is_heard else [])


def test_a_notice_of_several_tasks_is_reduced_to_granted_skills(stage: Callable[..., Stage], office: Office) -> None:
    road, photos = ride(), album()
    house = stage(road, photos)
    office.write('[some]\ntoken = "the-token-of-some"\nskills = ["resize"]\n')
    house.orchestrator(skills_of_signer=office.workers.skills_of_signer)
    driving = house.turn_until_status(house.create(road), "waiting_for_worker")
    resizing = house.turn_until_status(house.create(photos, count=2), "waiting_for_parallel")
    _, drive = house.take_task("drive")
    rows = [(driving.id, drive.task_id, 1, "start"), (resizing.id, f"{resizing.id}.1.2", 1, "split")]

    tell(house, wire.TasksStarted("some", rows))

    assert house.store.task_workers([(rows[0][0], rows[0][1]), (rows[1][0], rows[1][1])]) == [None, "some"]


# ---------------------------------------------------------------- registrations


@pytest.fixture
def crew_of(house_of: HouseOf) -> Iterator[Callable[[Blueprint], Crew]]:
    crews: list[Crew] = []

    def make(bp: Blueprint) -> Crew:
        crews.append(Crew(house_of(bp)))
        return crews[-1]

    yield make
    for crew in crews:
        crew.close()


def register(house: Stage, worker_id: str, *skills: str) -> None:
    """Register as a worker on the broker does, twice."""
    broker.declare_tasks(house.connection, skills, worker_id=worker_id)
    body = Identity(worker_id=worker_id, skills={skill: {} for skill in skills}).registration()
    with house.connection.channel() as channel:
        channel.settle([broker.registration(body, signer=key_of(worker_id))] * 2, ())
    house.turn_until(lambda: worker_id in [worker.worker_id for worker in house.store.registry.workers()])
    house.turn_until(lambda: house.notices() == 0)


def test_a_worker_is_known_for_the_skills_that_it_may_do(
    house_of: HouseOf, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    house = house_of(ride())

    register(house, "all", "drive", "sing")
    register(house, "some", "drive", "sing", "swim")

    assert house.store.registry.skills("all") == ("drive", "sing")
    assert house.store.registry.skills("some") == ("drive",)
    assert caplog.text.count("worker 'some' registered for skills it is not granted: ['sing', 'swim']") == 1
    assert "worker 'all'" not in caplog.text

    office.write(WORKERS.replace('"resize"', '"sing"'))
    register(house, "some", "drive", "sing", "swim")

    assert house.store.registry.skills("some") == ("drive", "sing")
    assert caplog.text.count("worker 'some' registered for skills it is not granted: ['swim']") == 1


def test_no_strategy_chooses_a_worker_for_what_it_may_not_do(crew_of: Callable[[Blueprint], Crew]) -> None:
    bp = film(dispatch_strategy="round_robin")
    crew = crew_of(bp)
    house = crew.house
    register(house, "others", "encode")
    job_id = house.create(bp)
    house.turn_until(lambda: "task_waiting start" in house.history(job_id))

    register(house, "all", "encode")
    house.turn_until(lambda: crew.own("all") == 1)

    assert crew.own("others") == 0


@pytest.mark.parametrize("skills", [None, 7, {"drive": {}}, ["drive", {"name": ["drive"]}, {"schema": {}}]])
def test_a_registration_that_makes_no_sense_is_of_no_skill(skills: Any, house_of: HouseOf) -> None:
    house = house_of(ride())

    tell(house, wire.Registered("some", {"type": "", "skills": skills}))
    house.turn_until(lambda: bool(house.store.registry.workers()))

    assert house.store.registry.skills("some") == ()
