"""Skills in processes, with kill -9 of the worker, its zygote, or a skill's process: nothing is lost, no process
outlives the worker, and the payload folder has no leftovers that a worker could have removed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from time import sleep
from typing import Any

import pytest

from avtomatika.store import Store

from ..support.installation import Installation
from ..support.scale import SCALE, chance
from ..support.waiting import wait_until
from .checker import violations
from .forks import STATES
from .kin import Kin, session, zygote_of
from .test_kills import wait_for_ends

#: All three kinds are killed once in each round.
ROUNDS = min(4 * SCALE, 30)
#: Jobs created before each round, which keep the worker busy until the next.
JOBS_A_KILL = 5
#: Time limit for processes that have lost their worker; generous for a busy machine.
ORPHANED_SECONDS = 10

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + 20 * ROUNDS)]


class Killer:
    """Kills processes of the worker of *installation*, whose files are in *folder*."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._troop = installation
        self._folder = folder
        #: Leftovers of killed workers.
        self.left: set[str] = set()
        #: All session leaders of workers.
        self.leaders = [installation.pid("worker")]

    def strike(self, victim: str) -> None:
        """Kill a process that is working: the others run a skill."""
        busy = self._busy()
        if victim == "worker":
            self._kill_worker()
        elif victim == "zygote":
            os.kill(busy.parent, signal.SIGKILL)
        else:
            os.kill(busy.pid, signal.SIGKILL)

    def all_have_ended(self) -> bool:
        return not any(session(leader) for leader in self.leaders)

    def in_folder(self) -> set[str]:
        return set(os.listdir(self._folder))

    def _busy(self) -> Kin:
        """Return a process that runs a skill."""
        found: list[Kin] = []

        def look() -> bool:
            leader = self.leaders[-1]
            zygote = zygote_of(leader)
            found.extend(kin for kin in session(leader) if kin.parent == zygote and kin.has_open(self._folder))
            return bool(found)

        wait_until(look, 60, "a skill at work")
        return found[0]

    def _kill_worker(self) -> None:
        leader = self.leaders[-1]
        self._troop.kill("worker", is_alone=True)
        wait_until(lambda: not session(leader), ORPHANED_SECONDS, "the end of orphaned processes")
        self.left |= self.in_folder()
        self._troop.start("worker")
        self.leaders.append(self._troop.pid("worker"))


def victims(dice: Random) -> Iterator[str]:
    """Return each victim once per round, in random order."""
    for _ in range(ROUNDS):
        yield from dice.sample(["worker", "zygote", "skill"], 3)


def lost_attempts(store: Store, job_id: str) -> int:
    """Return the number of attempts that lost their process."""
    history, _ = store.history(job_id, limit=10_000)
    return sum("was killed by SIGKILL" in str(recorded.entry) for recorded in history)


def test_every_job_ends_rightly_and_nobody_outlives_the_worker(make_server: Callable[..., Any], tmp_path: Path) -> None:
    dice = chance("forks")
    server = make_server()
    payloads = tmp_path / "payloads"
    environ = {"WORKER_POOL": "process", "WORKER_CONCURRENCY": "4", "WORKER_PAYLOAD_DIR": str(payloads)}
    environ |= {"WORKER_SPOOL_DIR": str(tmp_path / "spool"), "MAX_DELIVERIES": "100"}  # no task counts as poison here
    with (
        Installation(server.url, tmp_path, blueprint="forks", **environ) as installation,
        closing(Store.connect(server.url)) as store,
    ):
        client = installation.client()
        killer = Killer(installation, payloads / "tasks")
        ids: dict[int, str] = {}
        for victim in victims(dice):
            for n in range(len(ids), len(ids) + JOBS_A_KILL):
                ids[n] = client.submit("forks", {"n": n})["job_id"]
            sleep(dice.uniform(0, 1))
            killer.strike(victim)
        wait_for_ends(store, ids, within_seconds=60 + len(ids))
        found = [
            text
            for n, job_id in ids.items()
            for text in violations(store, job_id, states=STATES, result={"sum": 3 * n})
        ]
        exit_code = installation.stop("worker")
        wait_until(killer.all_have_ended, ORPHANED_SECONDS, "the end of all that workers have forked")
        left = killer.in_folder() - killer.left
        lost = sum(lost_attempts(store, job_id) for job_id in ids.values())
        print(f"{len(ids)} jobs, {3 * ROUNDS} kills, {lost} attempts lost with their process: {len(found)} violations")

    assert found == []
    assert exit_code == 0
    assert left == set()
    assert lost >= ROUNDS, "whoever was killed had nothing to do"
