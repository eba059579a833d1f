"""Jobs in several shards, while processes and primaries are killed and slots move: nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from avtomatika.core.shards import shard_names, shard_of, shard_prefixes
from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store

from ..support.cluster import Cluster
from ..support.installation import SECRET_KEY, Installation
from ..support.scale import SCALE, chance
from ..support.waiting import wait_until
from .test_mixed import Demand, Storm, approve_all, found_violations, under_way

#: Before each hit, so many jobs are created.
JOBS_PER_HIT = 8
KILLS = min(14 * SCALE, 40)
ROUNDS = min(2 * SCALE, 8)
#: Of the second orchestrator.
SOME = {"AVTOMATIKA_ORCHESTRATOR_SHARDS": "0-1"}

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400 + 60 * ROUNDS)]


def storm(
    url: str, folder: Path, *, shards: int, hits: int, hit: Callable[[Installation, int], None]
) -> tuple[dict[int, str], list[str]]:
    """Run jobs of all kinds and *hit* the installation while some are under way; return their ids, and what is wrong
    with them."""
    ids: dict[int, str] = {}
    prefixes = shard_prefixes("g0", shards)
    with (
        Installation(url, folder, blueprint="mixed", AVTOMATIKA_SHARDS=str(shards)) as installation,
        closing(Store.connect(url, prefixes=prefixes, secret=GroupSecret(SECRET_KEY))) as store,
    ):
        installation.also("orchestrator-2", like="orchestrator", **SOME)
        demand = Demand(installation.client(), ids)
        storms = [Storm(demand.create), Storm(approve_all(store))]
        for each in storms:
            each.start()
        for number in range(hits):
            demand.due = JOBS_PER_HIT * (number + 1)
            wait_until(lambda: under_way(store, ids), 60, "jobs under way")
            hit(installation, number)
        wait_until(lambda: len(ids) == demand.due and not under_way(store, ids), 240, "the end of all jobs")
        for each in storms:
            each.stop()
        found = list(found_violations(store, ids))
        print(f"{len(ids)} jobs in {shards} shards, {hits} hits: {len(found)} violations")
    return ids, found


def restart(installation: Installation, role: str) -> None:
    installation.restart(role, **(SOME if role == "orchestrator-2" else {}))


def test_every_job_ends_rightly_whoever_is_killed(make_server: Callable[..., Any], tmp_path: Path) -> None:
    dice, server = chance("shards"), make_server(appendfsync="always")

    def kill(installation: Installation, _: int) -> None:
        sleep(dice.uniform(0, 1.5))
        role = dice.choice(["orchestrator", "orchestrator-2", "worker", "web", "server"])
        if role == "server":
            server.kill()
            server.start()
        else:
            restart(installation, role)

    ids, found = storm(server.url, tmp_path, shards=4, hits=KILLS, hit=kill)

    assert found == []
    names = shard_names("g0", 4)
    assert {shard_of(job_id, names, "g0") for job_id in ids.values()} == {*names}


def test_every_job_ends_rightly_whoever_owns_its_slot(make_server: Callable[..., Any], tmp_path: Path) -> None:
    """A killed primary is replaced by a replica, which has what was confirmed."""
    dice, prefixes = chance("owners"), shard_prefixes("g0", 16)
    cluster = Cluster(make_server, primaries=3, has_replicas=True)

    def change(installation: Installation, number: int) -> None:
        match number % 4:
            case 0:
                cluster.fail_over(cluster.owner_of(dice.choice(prefixes)))
            case 1:
                for prefix in dice.sample(prefixes, 3):
                    cluster.migrate(prefix, cluster.other_primary(prefix))
            case 2:
                restart(installation, dice.choice(["orchestrator", "orchestrator-2", "worker"]))
            case _:
                kill_primary(cluster, dice.choice(prefixes))
        sleep(dice.uniform(0, 2))

    _, found = storm(f"{cluster.url}?wait_replicas=1", tmp_path, shards=16, hits=4 * ROUNDS, hit=change)

    assert found == []


def kill_primary(cluster: Cluster, prefix: str) -> None:
    """Kill the owner of *prefix*; once its replica has replaced it, start it as a replica."""
    primary = cluster.owner_of(prefix)
    replica = cluster.replica_of(primary)
    primary.kill()
    wait_until(lambda: cluster.owner_of(prefix) is replica, 60, "the failover")
    primary.start()
    wait_until(lambda: cluster.replica_of(replica) is primary, 60, "the replica")
