"""Links to one orchestrator group: any of them keeps and answers the tasks of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.addresses import Address, Mode
from avtomatika.store import WorkerRegistry
from avtomatika.worker.links.scheduler import LinkScheduler, PeerGroups

from ...support.processes import Process
from ...support.scripted_orchestrator import Office
from ...support.web import WebServer
from ...support.workers import wait_until_begun

ADDRESSES = [Address(f"http://host-{name}") for name in "abc"]


def test_links_of_a_group_name_the_tasks_of_all() -> None:
    groups = PeerGroups(ADDRESSES)
    for place in range(3):
        groups.set_in_flight(place, {f"task-{place}": None})
    groups.set_broker(0, "g0")
    groups.set_broker(1, "g1")
    groups.set_broker(2, "g0")

    assert groups.in_flight(0) == ["task-0", "task-2"]
    assert groups.in_flight(1) == ["task-1"]
    assert groups.others(2) == [0]


def test_a_link_of_an_unknown_group_has_no_peers() -> None:
    groups = PeerGroups(ADDRESSES)

    assert groups.others(0) == []
    assert groups.is_same_group(1, 1)


def test_a_link_is_not_on_standby_while_another_of_its_group_is_active() -> None:
    scheduler = LinkScheduler(Mode.FAILOVER, ADDRESSES, capacity=1)
    scheduler.groups.set_broker(0, "g0")
    scheduler.groups.set_broker(1, "g0")
    scheduler.groups.set_broker(2, "g1")

    assert [scheduler.is_standby(place) for place in range(3)] == [False, False, True]
    assert [state for _, state in scheduler.states()] == ["in_use", "standby", "standby"]
    scheduler.failed(0)
    assert [scheduler.is_standby(place) for place in range(3)] == [False, False, True]
    assert [state for _, state in scheduler.states()] == ["down", "in_use", "standby"]
    assert scheduler.peers(0) == [ADDRESSES[1]]
    assert scheduler.peers(1) == []


def test_the_only_link_is_in_use_without_reporting_its_health() -> None:
    clock = iter(range(0, 10_000, 1000))
    scheduler = LinkScheduler(Mode.FAILOVER, ADDRESSES[:1], capacity=1, clock=lambda: next(clock))

    assert [state for _, state in scheduler.states()] == ["in_use"]
    scheduler.failed(0)
    assert [state for _, state in scheduler.states()] == ["down"]


def test_no_link_is_on_standby_in_round_robin() -> None:
    scheduler = LinkScheduler(Mode.ROUND_ROBIN, ADDRESSES, capacity=1)

    assert not any(scheduler.is_standby(place) for place in range(3))
    assert {state for _, state in scheduler.states()} == {"in_use"}


@pytest.mark.faults
def test_another_address_of_the_group_keeps_and_answers_a_task(
    redis_url: str,
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    office = make_office(redis_url, lease_seconds=2)
    main, backup = (make_web(redis_url, WORKER_TOKEN="the-workers-token", WORKER_LEASE_SECONDS="2") for _ in range(2))
    addresses = [{"url": f"http://{web.address}"} for web in (main, backup)]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps(addresses), WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1"
    )
    worker.wait_for_log(f"registered with http://{backup.address}")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "both"})
    wait_until_begun(gate)

    main.kill()
    worker.wait_for_log(f"now taking tasks from http://{backup.address}")
    office.nothing_comes("work", seconds=5)  # two leases: the backup keeps it
    gate.touch()

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "both"})
    assert office.depth("work") == 0
    registry = WorkerRegistry.connect(redis_url)
    [known] = registry.workers()
    registry.close()
    assert known.beat["links"] == [
        {"address": f"http://{main.address}", "state": "down"},
        {"address": f"http://{backup.address}", "state": "in_use"},
    ]
    assert known.beat["switches"] == 1
    assert not known.is_standby


def test_a_result_waits_for_its_own_group(
    make_server: Callable[..., Any],
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    urls = [make_server().url for _ in range(2)]
    office, other = (make_office(url) for url in urls)
    main, backup = (make_web(url, WORKER_TOKEN="the-workers-token") for url in urls)  # neither has its own group name
    addresses = [{"url": f"http://{web.address}"} for web in (main, backup)]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps(addresses), WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1"
    )
    worker.wait_for_log(f"registered with http://{backup.address}")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "main"})
    wait_until_begun(gate)

    main.kill()
    worker.wait_for_log(f"now taking tasks from http://{backup.address}")
    gate.touch()
    worker.wait_for_log("unsent results wait")
    main.start()

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "main"})
    assert other.depth("work") == 0


def test_a_link_that_is_reached_late_takes_over_when_it_has_been_healthy_for_a_while() -> None:
    now = [0.0]
    scheduler = LinkScheduler(Mode.FAILOVER, ADDRESSES[:2], capacity=1, clock=lambda: now[0])
    scheduler.recovered(1)
    states = []
    for at, reached in ((1.9, False), (2.1, False), (3.0, True), (12.9, False), (13.1, False)):
        now[0] = at
        if reached:
            scheduler.recovered(0)
        states.append([state for _, state in scheduler.states()])

    assert states == [
        ["in_use", "standby"],
        ["down", "in_use"],
        ["standby", "in_use"],
        ["standby", "in_use"],
        ["in_use", "standby"],
    ]
