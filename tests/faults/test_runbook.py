"""The recipes of the runbook, as they are printed, on an installation with jobs in flight."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest
import redis

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import UnavailableError
from avtomatika.store import Store

from ..support.documents import ROOT, blocks, run_blocks, section, shell_environment
from ..support.installation import PROGRAMS, SECRET_KEY, Installation
from ..support.ports import free_port
from ..support.servers import OwnServer
from ..support.waiting import wait_until
from .checker import violations
from .three import STATES

OPERATIONS = ROOT / "docs" / "operations.md"
JOBS = 40

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("redis-cli"), reason="there is no redis-cli: apt install redis-tools"),
]


class Operator:
    """A person with the runbook, and an installation whose jobs are three tasks long."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.folder = folder
        self.ids: dict[int, str] = {}

    def submit(self, number: int = JOBS) -> None:
        with self.installation.client() as client:
            for n in range(len(self.ids), len(self.ids) + number):
                self.ids[n] = client.submit("three", {"n": n})["job_id"]

    def does(self, heading: str, url: str, *, only: str = "", **environment: str) -> str:
        """Type the blocks of a recipe, or the one that contains *only*; return what they print."""
        text = _recipe(heading)
        chosen = [block for block in blocks(OPERATIONS) if block.language == "bash" and block.text in text]
        chosen = [block for block in chosen if only in block.text]
        assert chosen
        values = {"CLIENT_TOKEN": self.installation.token, "AVTOMATIKA_URL": self.installation.base_url}
        values |= {
            "BLUEPRINTS": "three",
            "PYTHONPATH": f"{ROOT}:{PROGRAMS}",
            "SECRET_KEY": SECRET_KEY,
            "REDIS_URL": url,
        }
        where = shell_environment(self.folder, **values, **environment)
        answers = list(run_blocks(chosen, folder=self.folder, environment=where, url=self.installation.base_url))
        assert [status for status, _ in answers] == [0] * len(chosen), answers
        return "".join(said for _, said in answers)

    def restart(self, url: str) -> None:
        """Start all processes with the server at *url*."""
        for role in ("orchestrator", "worker", "web"):
            self.installation.restart(role, REDIS_URL=url)

    def wait_until_begun(self, url: str) -> None:
        """Wait until some jobs have ended and others have not."""
        wait_until(lambda: self.ended(url), 60, "the first job has ended")
        assert self.ended(url) < len(self.ids)

    def ended(self, url: str) -> int:
        with closing(Store.connect(url, secret=GroupSecret(SECRET_KEY))) as store:
            return sum(job is not None and job.status.is_final for job in store.load_many(list(self.ids.values())))

    def expect_all_jobs_right(self, url: str) -> None:
        wait_until(lambda: self.ended(url) == len(self.ids), 120, "all jobs have ended", pause_seconds=0.2)
        with closing(Store.connect(url, secret=GroupSecret(SECRET_KEY))) as store:
            for n, job_id in self.ids.items():
                assert violations(store, job_id, states=STATES, result={"sum": 3 * n}) == []


def _recipe(heading: str) -> str:
    _, _, rest = section(OPERATIONS, "Runbook").partition(f"\n### {heading}\n")
    return rest.partition("\n### ")[0]


@pytest.fixture
def operator(own_server: OwnServer, tmp_path: Path) -> Iterator[Operator]:
    with Installation(own_server.url, tmp_path) as installation:
        yield Operator(installation, tmp_path)


def test_stuck(operator: Operator, own_server: OwnServer) -> None:
    operator.installation.kill("worker")
    operator.submit(3)
    wait_until(lambda: "worker" in operator.installation.client().job(operator.ids[0])["status"], 30)

    said = operator.does("Stuck", own_server.url)

    assert operator.ids[0] in said
    assert "worker" in said
    operator.installation.start("worker")
    operator.expect_all_jobs_right(own_server.url)


def test_slow(operator: Operator, own_server: OwnServer) -> None:
    operator.submit()

    said = operator.does("Slow", own_server.url)

    assert "slowest job" in said
    assert re.search(r"^add ", said, re.MULTILINE)
    operator.expect_all_jobs_right(own_server.url)


def test_full(operator: Operator, own_server: OwnServer) -> None:
    operator.submit()
    with redis.Redis.from_url(own_server.url) as server:
        server.config_set("maxmemory", int(server.info("memory")["used_memory"] * 1.1))
    wait_until(lambda: _is_refused(operator), 30, "new jobs are refused")

    said = operator.does("Full", own_server.url)

    assert "new jobs are rejected until others finish" in said
    assert said.rpartition("OK\n")[2].count("fault") == 0
    operator.submit(1)
    operator.expect_all_jobs_right(own_server.url)


def _is_refused(operator: Operator) -> bool:
    deadline = monotonic() + 2  # the memory is looked at once a second
    while monotonic() < deadline:
        try:
            operator.submit(1)
        except UnavailableError:
            return True
        sleep(0.1)
    return False


def test_failed_over(operator: Operator, own_server: OwnServer, make_server: Callable[..., OwnServer]) -> None:
    replica = make_server(replicaof=f"127.0.0.1 {own_server.port}", appendonly="no")
    with redis.Redis.from_url(replica.url) as server:
        wait_until(lambda: server.info("replication")["master_link_status"] == "up", 30, "the replica follows")
    operator.submit()
    operator.wait_until_begun(own_server.url)
    with redis.Redis.from_url(own_server.url) as server:
        server.wait(1, 5000)  # what the replica has not received would be lost
    own_server.kill()

    said = operator.does("Failed over", own_server.url, REPLICA_URL=replica.url)
    operator.restart(replica.url)

    assert "role:master" in said
    operator.expect_all_jobs_right(replica.url)


@pytest.mark.parametrize("kind", ["backup.rdb", "backup-aof"])
def test_backed_up_and_restored(
    kind: str, operator: Operator, own_server: OwnServer, make_server: Callable[..., OwnServer], tmp_path: Path
) -> None:
    operator.submit()
    operator.wait_until_begun(own_server.url)
    operator.does("Backed up", own_server.url, only=kind)
    saved = dict(operator.ids)
    operator.submit(2)
    for role in ("orchestrator", "worker", "web"):
        operator.installation.kill(role)
    own_server.kill()

    data = tmp_path / "valkey-1"  # of the next server
    data.mkdir()
    is_snapshot = kind == "backup.rdb"
    (shutil.copy if is_snapshot else shutil.copytree)(
        tmp_path / kind, data / ("dump.rdb" if is_snapshot else "appendonlydir")
    )
    restored = make_server(appendonly="no" if is_snapshot else "yes")
    if is_snapshot:
        operator.does("Restored", restored.url, only="CONFIG SET appendonly yes")
    for role in ("orchestrator", "worker", "web"):
        operator.installation.start(role, REDIS_URL=restored.url)
    wait_until(lambda: _doctor(operator, restored.url), 60, "the web answers")

    operator.ids = saved
    operator.expect_all_jobs_right(restored.url)
    restored.stop()
    restored.start(appendonly="yes")
    assert operator.ended(restored.url) == len(saved)


def _doctor(operator: Operator, url: str) -> bool:
    try:
        return "server" in operator.does("Restored", url, only="avtomatika doctor")
    except AssertionError:
        return False


def test_upgraded(operator: Operator, own_server: OwnServer) -> None:
    operator.submit()
    operator.wait_until_begun(own_server.url)

    operator.does("Upgraded", own_server.url, only="blueprints")
    for role in ("orchestrator", "worker", "web"):
        operator.installation.also("new", like=role, API_PORT=str(free_port()), WORKER_ID="newer")
        operator.installation.stop(role)
        operator.installation.start(role)
        operator.installation.stop("new") if role != "web" else operator.installation.kill("new")
    operator.does("Upgraded", own_server.url, only="SHUTDOWN")
    wait_until(lambda: not own_server.is_running, 30, "the server has stopped")
    own_server.start()

    operator.expect_all_jobs_right(own_server.url)
