"""A cluster under traffic: primaries that fail or hand over, and a slot that moves with its messages."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from avtomatika.transport.keys import PREFIX

from ...support.cluster import Cluster
from ...support.waiting import wait_until
from . import queues
from .traffic import under_way

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

#: Messages that a failover may lose: confirmed by the old primary, not replicated yet.
LAG_SECONDS = 1.0


def test_a_killed_primary_is_replaced_and_at_most_the_lag_is_lost(
    make_server: Callable[..., Any], tmp_path: Path
) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    primary = cluster.owner_of(PREFIX)
    replica = cluster.replica_of(primary)
    with under_way(primary.url, tmp_path, way=cluster.kombu_url) as scene:
        killed = monotonic()
        primary.kill()
        wait_until(lambda: cluster.owner_of(PREFIX) is replica, 30, "the failover")
        scene.url = replica.url
        scene.goes_on(60)
        scene.end()
        scene.tell("a primary of a cluster is killed")

        assert [number for number in scene.lost if scene.ledger.confirmed[number] < killed - LAG_SECONDS] == []
        assert scene.traffic.errors


def test_a_killed_primary_loses_nothing_that_a_replica_confirmed(
    make_server: Callable[..., Any], tmp_path: Path
) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    primary = cluster.owner_of(PREFIX)
    replica = cluster.replica_of(primary)
    with under_way(primary.url, tmp_path, way=f"{cluster.kombu_url}?wait_replicas=1") as scene:
        os.kill(primary.pid, signal.SIGSTOP)  # while it stands still, its last writes are on their way
        primary.kill()
        wait_until(lambda: cluster.owner_of(PREFIX) is replica, 30, "the failover")
        confirmed = len(scene.ledger.confirmed)
        primary.start()  # as the replica that confirms what follows
        scene.traffic.stop()
        scene.url = replica.url
        wait_until(lambda: queues.waiting(replica.url) == 0, 60, "an empty queue")
        scene.tell("a primary is killed whose replica confirms each write")

        assert scene.lost == []
        assert confirmed >= 100


def test_a_primary_that_hands_over_loses_nothing(make_server: Callable[..., Any], tmp_path: Path) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    primary = cluster.owner_of(PREFIX)
    replica = cluster.replica_of(primary)
    with under_way(primary.url, tmp_path, way=cluster.kombu_url) as scene:
        cluster.fail_over(primary)
        wait_until(lambda: cluster.owner_of(PREFIX) is replica, 30, "the failover")
        scene.url = replica.url
        scene.goes_on(60)
        scene.end()
        scene.tell("a primary of a cluster hands over")

        assert scene.lost == []


def test_a_slot_that_moves_there_and_back_loses_nothing(make_server: Callable[..., Any], tmp_path: Path) -> None:
    cluster = Cluster(make_server, primaries=3)
    first = cluster.owner_of(PREFIX)
    second = cluster.other_primary(PREFIX)
    with under_way(first.url, tmp_path, way=cluster.kombu_url) as scene:
        for target in (second, first, second):
            cluster.migrate(PREFIX, target)
            scene.url = target.url
            scene.goes_on(60)
        scene.end()
        scene.tell("the slot of a cluster moves")

        assert scene.lost == []
        assert scene.traffic.errors
