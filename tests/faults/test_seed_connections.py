"""The cookbook's pages on several orchestrators and on workers.toml: their blocks as printed, but for addresses. Every
process of one orchestrator is killed with SIGKILL under load.

Over Redis the same blocks are read with ``redis://`` for ``http://``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from ..support.processes import Process
from ..support.scale import SCALE
from ..support.waiting import wait_until
from .hosts import Host, Kind, start_worker

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
KINDS = pytest.mark.parametrize("kind", ["http", "redis"])

#: Half of them for each orchestrator; FAULTS_SCALE=5 makes a thousand.
JOBS = 200 * SCALE

FAILOVER = """
# Worker will poll 'main-orchestrator'. If it fails,
# SDK automatically switches to 'backup-orchestrator'.
ORCHESTRATORS_CONFIG='[
    {"url": "http://main-orchestrator:8080"},
    {"url": "http://backup-orchestrator:8080"}
]'

MULTI_ORCHESTRATOR_MODE=FAILOVER
"""
ROUND_ROBIN = """
ORCHESTRATORS_CONFIG='[
    {"url": "http://orchestrator-1:8080"},
    {"url": "http://orchestrator-2:8080"}
]'

MULTI_ORCHESTRATOR_MODE=ROUND_ROBIN
"""
WORKERS_TOML = """
# workers.toml
[worker-video-1]
token = "unique-secret-token-for-video-1"

[worker-audio-5]
token = "another-secret-for-audio-5"
"""
ORCHESTRATOR_ENV = """
# In Orchestrator .env file
WORKERS_CONFIG_PATH="workers.toml"
"""
WORKER_ENV = """
# In Worker .env file
WORKER_ID="worker-video-1"
AVTOMATIKA_WORKER_TOKEN="unique-secret-token-for-video-1"
"""


@dataclass
class Scene:
    first: Host
    second: Host
    kind: Kind
    folder: Path
    worker: Process | None = None

    def start_worker(self, env: str) -> Process:
        blocks = f"{env}{WORKER_ENV}"
        if self.kind == "redis":
            blocks = blocks.replace("http://", "redis://")
        for host in (self.first, self.second):
            blocks = blocks.replace(f"{host.name}:8080", host.address)
        self.worker = start_worker(self.folder / "worker", blocks)
        return self.worker

    def begun(self, host: Host | None = None) -> list[tuple[float, str]]:
        """Return when tasks of which orchestrator started, in order; only of *host* if given."""
        ledger = self.folder / "worker" / "ledger"
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        found = [(float(at), of) for at, of, _ in (line.split() for line in lines)]
        return [(at, of) for at, of in found if host is None or of == host.name]

    def begun_after(self, moment: float, host: Host) -> list[float]:
        return [at for at, _ in self.begun(host) if at > moment]

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
        for host in (self.first, self.second):
            host.kill()


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(kind: Kind, first: str, second: str) -> Scene:
        hosts = [Host(name, kind, tmp_path, env=ORCHESTRATOR_ENV) for name in (first, second)]
        for host in hosts:
            write_workers_toml(host, WORKERS_TOML)
        scenes.append(Scene(*hosts, kind=kind, folder=tmp_path))
        for host in hosts:
            host.start()
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


@KINDS
def test_failover_loses_nothing_when_everything_of_the_main_orchestrator_is_killed(
    kind: Kind, make_scene: Callable[..., Scene]
) -> None:
    scene = make_scene(kind, "main-orchestrator", "backup-orchestrator")
    main, backup = scene.first, scene.second
    worker = scene.start_worker(FAILOVER)

    stranded = backup.create(2)
    wait_until(lambda: backup.are_finished(stranded), 30, "the standby to be drained")
    assert "now taking tasks" not in worker.log.partition("takes work from")[2], "no takeover was logged"

    of_main = main.create(JOBS // 2)
    wait_until(lambda: len(scene.begun(main)) >= JOBS // 10, 30, "work to be under way")
    of_backup = backup.create(JOBS // 2)
    killed_at = monotonic()
    main.kill()
    wait_until(lambda: len(scene.begun_after(killed_at, backup)) >= 8, 30, "intake from the other")
    switched = scene.begun_after(killed_at, backup)[7] - killed_at
    main.start()
    back_at = monotonic()
    wait_until(lambda: len(scene.begun_after(back_at, main)) >= 8, 60, "intake from the first again")
    returned = scene.begun_after(back_at, main)[7] - back_at

    wait_until(lambda: main.are_finished(of_main) and backup.are_finished(of_backup), 120, "the end of all jobs")
    print(f"{kind}: {JOBS} jobs, intake from the other after {switched:.2f} s, back after {returned:.1f} s")
    assert main.done_more_than_once(of_main) == backup.done_more_than_once(of_backup) == []
    assert switched < 2
    assert returned < 15
    for host in (main, backup):
        assert worker.log.count(f"now taking tasks from {kind}://{host.address}") == 1


@KINDS
def test_round_robin_shares_the_worker_in_equal_parts(kind: Kind, make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(kind, "orchestrator-1", "orchestrator-2")
    jobs = [(host, host.create(JOBS // 2)) for host in (scene.first, scene.second)]

    scene.start_worker(ROUND_ROBIN)
    wait_until(lambda: all(host.are_finished(ids) for host, ids in jobs), 120, "the end of all jobs")

    both_are_there = max(scene.begun(host)[0][0] for host, _ in jobs)
    both_have_work = [(at, of) for at, of in scene.begun()[: JOBS * 3 // 4] if at >= both_are_there]
    shares = Counter(of for _, of in both_have_work)
    print(f"{kind}: {dict(shares)}")
    assert abs(shares[scene.first.name] / len(both_have_work) - 0.5) <= 0.05
    assert [host.done_more_than_once(ids) for host, ids in jobs] == [[], []]


def test_a_worker_that_is_taken_out_of_the_file_is_out_within_three_seconds(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene("http", "main-orchestrator", "backup-orchestrator")
    worker = scene.start_worker(FAILOVER)
    jobs = scene.first.create(1)
    wait_until(lambda: scene.first.are_finished(jobs), 30, "the worker is accepted")

    write_workers_toml(scene.first, WORKERS_TOML.replace("[worker-video-1]", "[worker-video-2]"))

    assert worker.wait_for_log("rejected this worker") < 3


def write_workers_toml(host: Host, text: str) -> None:
    fresh = host.folder / "fresh.toml"
    fresh.write_text(text)
    fresh.chmod(0o600)
    os.replace(fresh, host.folder / "workers.toml")
