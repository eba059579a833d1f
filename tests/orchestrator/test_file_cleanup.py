"""Files of finished jobs are removed, also after crashes, and only when nothing needs them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import FILES
from avtomatika.core.signing import GroupSecret
from avtomatika.errors import TransientError
from avtomatika.files.bucket import Bucket
from avtomatika.files.cleanup import Cleaner, Cleanup, CleanupRules
from avtomatika.files.config import S3Config
from avtomatika.orchestrator.file_cleanup import FileCleanup
from avtomatika.schemas import wire
from avtomatika.store import NewJob, Store, Sweeper
from avtomatika.store.cleanups import CleanupTimes, cleanup_message

from ..support.object_storage import ObjectStorage
from ..support.orchestrators import Stage

DEADLINE_SECONDS = 15
SOON = CleanupTimes(intermediate_seconds=0.01)
INTERMEDIATE = CleanupRules(Cleanup.DELETE_INTERMEDIATE)

films = Blueprint(name="films")


@films.handler(is_start=True)
def start(initial_data: Any, actions: Any) -> None:
    if initial_data.get("waits"):
        actions.dispatch_task("nobody", {}, transitions={"success": "done"})
    else:
        actions.go_to("done")


@films.handler(is_end=True)
def done(job_id: str, initial_data: Any) -> Any:
    owner = initial_data.get("of", job_id)
    return {"film": f"s3://{initial_data['bucket']}/{owner}/{owner}.1.0/1-0a1b2c3d/film.mp4"}


class House:
    """A stage, a bucket, and any number of file clean-up loops."""

    def __init__(self, stage: Stage, cloud: ObjectStorage) -> None:
        self.stage = stage
        self.cloud = cloud
        self.bucket = cloud.make_bucket()
        self.config = S3Config(
            endpoint_url=cloud.url, access_key="k", secret_key="s", bucket=self.bucket, region="us-east-1"
        )
        self._stack = ExitStack()

    def cleaning(self, rules: CleanupRules = INTERMEDIATE, *, config: S3Config | None = None) -> FileCleanup:
        connection = self._stack.enter_context(broker.connect(self.stage.url, lease_seconds=1))
        consumer = Consumer(connection, [FILES], prefetch=10)
        self._stack.callback(consumer.close)
        server, router = consumer.channel.server, consumer.channel.router
        objects = Bucket(config or self.config)
        self._stack.callback(objects.close)
        return FileCleanup(
            consumer=consumer,
            store=Store(server, router),
            sweeper=Sweeper(server, router),
            cleaner=Cleaner(objects, group="g0"),
            rules=rules,
        )

    def job_with_files(self, *, waits: bool = False) -> str:
        """Create a job whose files exist before it runs."""
        job_id = self.stage.create(films, bucket=self.bucket, waits=waits)
        for name in ("film.mp4", "scene.mp4"):
            self.cloud.put(self.bucket, f"{job_id}/{job_id}.1.0/1-0a1b2c3d/{name}", name)
        return job_id

    def names(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self.cloud.keys(self.bucket)]

    def turn_until(self, cleaning: FileCleanup, reached: Callable[[], bool]) -> None:
        deadline = monotonic() + DEADLINE_SECONDS
        while not reached():
            assert monotonic() < deadline
            for orchestrator in self.stage.orchestrators:
                orchestrator.run_once()
            cleaning.run_once()

    def publish(self, cleanup: wire.Cleanup, secret: GroupSecret | None = None) -> None:
        consumer = Consumer(self.stage.connection, [FILES], prefetch=1)
        consumer.settle_many([([cleanup_message(cleanup, secret or self.stage.store.keyring.secret)], [])])
        consumer.close()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def house(stage: Callable[..., Stage], cloud: ObjectStorage) -> Iterator[House]:
    house = House(stage(films), cloud)
    yield house
    house.close()


def test_when_a_job_ends_what_its_result_does_not_name_goes(house: House) -> None:
    house.stage.orchestrator(cleanups=SOON)
    house.job_with_files()

    house.turn_until(house.cleaning(), lambda: len(house.names()) == 1)

    assert house.names() == ["film.mp4"]


def test_with_the_job_everything_goes(house: House) -> None:
    house.stage.orchestrator(cleanups=CleanupTimes(0.01, 0.5))
    house.job_with_files()

    house.turn_until(house.cleaning(CleanupRules(Cleanup.DELETE)), lambda: not house.names())


@pytest.mark.parametrize(("rules", "left"), [(INTERMEDIATE, ["film.mp4"]), (CleanupRules(Cleanup.DELETE), [])])
def test_files_of_a_failed_job_stay_as_long_as_a_retry_uses_them(
    house: House, rules: CleanupRules, left: list[str]
) -> None:
    failed, store = house.job_with_files(waits=True), house.stage.store
    data = {"bucket": house.bucket, "of": failed}
    retry = NewJob(plan=films.plan, client="me", initial_data=data, retry_of=failed, origins=[failed])
    retry_id = store.create(retry).job_id
    orchestrator, cleaning = house.stage.orchestrator(), house.cleaning(rules)

    house.publish(wire.Cleanup(failed, wire.UNFINISHED))
    for _ in range(3):
        cleaning.run_once()
    kept = house.names()
    while (job := store.load(retry_id)) is None or not job.status.is_final:
        orchestrator.run_once()
    if not left:  # with the last job that uses them
        with redis.Redis.from_url(house.stage.url) as client:
            client.delete(f"{{avt.g0}}:job:{retry_id}")
    house.publish(wire.Cleanup(failed, wire.UNFINISHED))
    house.turn_until(cleaning, lambda: house.names() == left)

    assert kept == ["film.mp4", "scene.mp4"]


def test_an_unsigned_clean_up_removes_nothing(house: House) -> None:
    job_id = house.job_with_files()
    cleaning = house.cleaning(CleanupRules(Cleanup.DELETE))

    house.publish(wire.Cleanup(job_id, wire.EVERYTHING), GroupSecret("that of another group"))
    with redis.Redis.from_url(house.stage.url) as client:
        house.turn_until(cleaning, lambda: client.xlen(f"{{avt.g0}}:q:{FILES}:dead") == 1)

    assert len(house.names()) == 2


def test_what_one_could_not_do_another_does(house: House) -> None:
    house.stage.orchestrator(cleanups=SOON)
    house.job_with_files()
    away = house.cleaning(config=replace(house.config, endpoint_url="http://127.0.0.1:1", timeout_seconds=0.2))

    def meets_it() -> bool:
        try:
            away.run_once()
        except TransientError:
            return True
        return False

    deadline = monotonic() + DEADLINE_SECONDS
    while not meets_it():
        assert monotonic() < deadline
        house.stage.orchestrators[0].run_once()
    assert len(house.names()) == 2
    away.stop()
    away.run()

    house.turn_until(house.cleaning(), lambda: house.names() == ["film.mp4"])


@pytest.mark.faults
def test_a_clean_up_of_a_killed_process_is_delivered_again(house: House) -> None:
    house.stage.orchestrator(cleanups=SOON)
    house.job_with_files()
    with broker.connect(house.stage.url, lease_seconds=1) as connection:
        dead = Consumer(connection, [FILES], prefetch=1)
        deadline = monotonic() + DEADLINE_SECONDS
        while not dead.take(0.05):
            assert monotonic() < deadline
            house.stage.orchestrators[0].run_once()
        dead.close()

    house.turn_until(house.cleaning(), lambda: house.names() == ["film.mp4"])


def test_a_childs_files_stay_as_long_as_its_parent_runs(house: House) -> None:
    house.stage.orchestrator()
    parent, child = house.job_with_files(waits=True), house.job_with_files()
    house.stage.turn_until_status(parent, "waiting_for_worker")
    house.stage.turn_until_status(child, "finished")
    cleaning, sign = house.cleaning(CleanupRules(Cleanup.DELETE)), house.job_with_files()

    house.publish(wire.Cleanup(child, wire.EVERYTHING, parent))
    house.publish(wire.Cleanup(sign, wire.EVERYTHING))
    house.turn_until(cleaning, lambda: len(house.names()) == 4)

    assert {key.partition("/")[0] for key in house.cloud.keys(house.bucket)} == {parent, child}


@pytest.mark.parametrize("rules", [CleanupRules(), INTERMEDIATE])
def test_rules_that_have_changed_are_those_that_hold(house: House, rules: CleanupRules) -> None:
    job_id, sign = house.job_with_files(), house.job_with_files()
    cleaning = house.cleaning(rules)

    house.publish(wire.Cleanup(job_id, wire.EVERYTHING))
    house.publish(wire.Cleanup(sign, wire.INTERMEDIATE))  # the job is still running
    for _ in range(5):
        cleaning.run_once()

    assert len(house.names()) == 4


def test_where_removing_is_denied_the_log_says_so_and_the_next_gets_its_turn(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.stage.orchestrator(cleanups=SOON)
    job_id = house.job_with_files()
    cleaning = house.cleaning(config=replace(house.config, bucket="no-such-bucket"))

    with caplog.at_level(logging.ERROR):
        house.turn_until(cleaning, lambda: "there is no such bucket" in caplog.text)

    assert f"job {job_id}: cannot remove its files: s3://no-such-bucket/{job_id}/" in caplog.text


def test_one_orchestrator_removes_old_files_of_finished_jobs_at_an_interval(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.stage.orchestrator()
    over, running = house.job_with_files(), house.job_with_files(waits=True)
    house.stage.turn_until_status(over, "finished")
    house.stage.turn_until_status(running, "waiting_for_worker")
    rules = CleanupRules(max_age_seconds=0.001)

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            house.cleaning(rules).run_once()

    assert {key.partition("/")[0] for key in house.cloud.keys(house.bucket)} == {running}
    assert caplog.text.count("files older than") == 1


def test_a_message_that_is_none_goes_to_the_dead_letters(house: House, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(house.stage.connection, [FILES], prefetch=1)
    consumer.settle_many([([Outgoing(FILES, FILES, "{}")], [])])

    house.turn_until(house.cleaning(), lambda: "dead-lettered" in caplog.text)
    consumer.close()
