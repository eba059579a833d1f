"""Jobs in several shards of one server: each stays in its own, whoever advances it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from avtomatika import Blueprint
from avtomatika.core.shards import shard_names, shard_of
from avtomatika.errors import ConflictError
from avtomatika.orchestrator import sweeps
from avtomatika.store import JobFilter

from ..support.orchestrators import Stage

NAMES = shard_names("g0", 4)


def house() -> tuple[Blueprint, Blueprint]:
    """A blueprint that waits for a time, a fan-out, a child and a person; and the child."""
    bp, child = Blueprint(name="house"), Blueprint(name="child")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.wait(0.05, then="split")

    @bp.handler(queue="wide")
    def split(actions: Any) -> None:
        tasks = [{"type": "count", "params": {"n": n}} for n in range(3)]
        actions.dispatch_parallel(tasks, aggregate_into="collect")

    @bp.aggregator
    def collect(aggregation_results: dict[str, Any], actions: Any) -> None:
        actions.run_blueprint("child", {"total": len(aggregation_results)}, transitions={"success": "ask"})

    @bp.handler
    def ask(actions: Any) -> None:
        actions.await_human_approval("mail", "Go on?", {"approved": "done"}, timeout=3600)

    @bp.handler(is_end=True)
    def done() -> str:
        return "home"

    @child.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.dispatch_task("count", {"n": 0}, transitions={"success": "end"})

    @child.handler(is_end=True)
    def end() -> None: ...

    return bp, child


def create(stage: Stage) -> dict[str, list[str]]:
    """Create two jobs or more in each shard; return their ids by the names of these."""
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    while min(map(len, found.values())) < 2:
        job_id = stage.create(stage.blueprints[0])
        found[shard_of(job_id, NAMES, "g0")].append(job_id)
    return found


def play(stage: Stage, jobs: dict[str, list[str]]) -> None:
    """Answer all tasks and approve everything until *jobs* and their children have finished."""
    number = 2 * sum(map(len, jobs.values()))

    def is_over() -> bool:
        for job in stage.store.list_jobs(JobFilter(status="waiting_for_human", limit=100))[0]:
            with suppress(ConflictError):  # it was approved a moment ago
                stage.store.decide(job, "approved", by="me")
        if sum(each.waiting + each.held for each in stage.store.overview.read().queues if each.name == "count"):
            stage.answer(stage.take_task("count"))
        return stage.store.count("finished") == number

    stage.turn_until(is_over, within_seconds=60)


def test_jobs_of_all_shards_run_to_their_end_and_so_do_their_children(stage: Callable[..., Stage]) -> None:
    there = stage(*house(), shards=4)
    for _ in range(2):
        there.orchestrator()
    jobs = create(there)

    play(there, jobs)

    for name, ids in jobs.items():
        for job in map(there.job, ids):
            assert (job.status, job.result) == ("finished", "home")
            assert [shard_of(child, NAMES, "g0") for child in job.children] == [name]


def test_every_key_of_a_job_is_in_its_shard(stage: Callable[..., Stage], redis_url: str) -> None:
    there = stage(*house(), shards=4)
    there.orchestrator()
    jobs = create(there)
    play(there, jobs)

    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        keys = list(server.scan_iter(count=1000))

    prefixes = dict(zip(NAMES, there.prefixes, strict=True))
    assert {key.partition(":")[0] for key in keys} == {prefix[:-1] for prefix in there.prefixes}
    for name, ids in jobs.items():
        named = [key for key in keys if any(job_id in key for job_id in ids)]
        assert named
        assert [key for key in named if not key.startswith(prefixes[name])] == []


def test_jobs_of_a_shard_that_none_serves_wait_and_are_reported(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "_SHARDS_EVERY_SECONDS", 0.1)
    there = stage(*house(), shards=4)
    there.orchestrator(served=[0, 2])
    jobs = create(there)
    served, others = jobs["g0"] + jobs["g0_2"], jobs["g0_1"] + jobs["g0_3"]

    there.turn_until(lambda: all(there.job(each).current_state == "split" for each in served))
    unserved = there.store.overview.read().unserved_shards
    waiting = {there.job(each).status for each in others}
    there.orchestrator(served=[1, 3])
    play(there, jobs)

    assert (unserved, waiting) == ([1, 3], {"pending"})
    there.turn_until(lambda: not there.store.overview.read().unserved_shards)


def test_a_result_that_arrives_in_another_shard_is_moved_to_that_of_its_job(stage: Callable[..., Stage]) -> None:
    there = stage(house()[1], shards=4)
    there.orchestrator()
    job_id = create(there)["g0_2"][0]
    there.turn_until_status(job_id, "waiting_for_worker")
    taken = there.take_task("count")
    while taken[1].job_id != job_id:
        taken = there.take_task("count")

    there.publish_result(taken)  # at home

    assert there.turn_until_status(job_id, "finished").status == "finished"
