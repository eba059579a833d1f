"""Links that lead to one orchestrator group are one: what came by one of them is kept and answered by any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avtomatika.store import WorkerRegistry
from avtomatika.worker.config import Address, Mode
from avtomatika.worker.links.peer_groups import PeerGroups
from avtomatika.worker.links.scheduler import LinkScheduler

from .conftest import Office
from .programs import Program, Web
from .test_process import wait_until_begun

ADDRESSES = [Address(f"http://host-{name}") for name in "abc"]


def test_links_of_one_group_keep_what_all_of_them_have() -> None:
    groups = PeerGroups(ADDRESSES)
    for place in range(3):
        groups.holds(place, {f"task-{place}": None})
    groups.joined(0, "g0")
    groups.joined(1, "g1")
    groups.joined(2, "g0")

    assert groups.in_hand(0) == ["task-0", "task-2"]
    assert groups.in_hand(1) == ["task-1"]
    assert groups.others(2) == [0]


def test_a_link_whose_group_is_not_known_stands_alone() -> None:
    groups = PeerGroups(ADDRESSES)

    assert groups.others(0) == []
    assert groups.is_one(1, 1)


def test_a_link_is_no_standby_while_another_one_of_its_group_is_in_charge() -> None:
    turns = LinkScheduler(Mode.FAILOVER, ADDRESSES, capacity=1)
    turns.groups.joined(0, "g0")
    turns.groups.joined(1, "g0")
    turns.groups.joined(2, "g1")

    assert [turns.is_standby(place) for place in range(3)] == [False, False, True]
    assert [state for _, state in turns.states()] == ["in_use", "standby", "standby"]
    turns.failed(0)
    assert [turns.is_standby(place) for place in range(3)] == [False, False, True]
    assert [state for _, state in turns.states()] == ["down", "in_use", "standby"]
    assert turns.fellows(0) == [ADDRESSES[1]]
    assert turns.fellows(1) == []


def test_the_only_link_is_in_use_though_it_never_says_how_it_is() -> None:
    clock = iter(range(0, 10_000, 1000))
    turns = LinkScheduler(Mode.FAILOVER, ADDRESSES[:1], capacity=1, clock=lambda: next(clock))

    assert [state for _, state in turns.states()] == ["in_use"]
    turns.failed(0)
    assert [state for _, state in turns.states()] == ["down"]


def test_in_turns_nobody_is_a_standby() -> None:
    turns = LinkScheduler(Mode.ROUND_ROBIN, ADDRESSES, capacity=1)

    assert not any(turns.is_standby(place) for place in range(3))
    assert {state for _, state in turns.states()} == {"in_use"}


def test_a_task_whose_address_died_is_kept_and_answered_by_another_of_the_group(
    redis_url: str,
    make_office: Callable[..., Office],
    make_web: Callable[..., Web],
    make_worker: Callable[..., Program],
    tmp_path: Path,
) -> None:
    office = make_office(redis_url, lease_seconds=2)
    main, backup = (make_web(redis_url, WORKER_TOKEN="the-workers-token", WORKER_LEASE_SECONDS="2") for _ in range(2))
    addresses = [{"url": f"http://{web.address}"} for web in (main, backup)]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps(addresses), WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1"
    )
    worker.says(f"registered with http://{backup.address}")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "both"})
    wait_until_begun(gate)

    main.kill()
    worker.says(f"tasks are taken from http://{backup.address} now")
    office.nothing_comes("work", seconds=5)  # two leases: who keeps it is the backup
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


def test_a_result_waits_for_its_own_group_though_another_one_is_there(
    make_server: Callable[..., Any],
    make_office: Callable[..., Office],
    make_web: Callable[..., Web],
    make_worker: Callable[..., Program],
    tmp_path: Path,
) -> None:
    urls = [make_server().url for _ in range(2)]
    office, other = (make_office(url) for url in urls)
    main, backup = (make_web(url, WORKER_TOKEN="the-workers-token") for url in urls)  # neither has a name of its own
    addresses = [{"url": f"http://{web.address}"} for web in (main, backup)]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps(addresses), WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1"
    )
    worker.says(f"registered with http://{backup.address}")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "main"})
    wait_until_begun(gate)

    main.kill()
    worker.says(f"tasks are taken from http://{backup.address} now")
    gate.touch()
    worker.says("results (1) wait")
    main.start()

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "main"})
    assert other.depth("work") == 0


def test_a_link_that_is_reached_late_takes_over_when_it_has_been_healthy_for_a_while() -> None:
    now = [0.0]
    turns = LinkScheduler(Mode.FAILOVER, ADDRESSES[:2], capacity=1, clock=lambda: now[0])
    turns.recovered(1)
    states = []
    for at, reached in ((1.9, False), (2.1, False), (3.0, True), (12.9, False), (13.1, False)):
        now[0] = at
        if reached:
            turns.recovered(0)
        states.append([state for _, state in turns.states()])

    assert states == [
        ["in_use", "standby"],
        ["down", "in_use"],
        ["standby", "in_use"],
        ["standby", "in_use"],
        ["in_use", "standby"],
    ]
