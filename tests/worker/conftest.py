"""A worker's link in a thread, workers and web servers as processes, and the orchestrator's side of the broker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Worker, broker
from avtomatika.core.shards import shard_prefixes
from avtomatika.worker.links import broker_link, control
from avtomatika.worker.links.broker_link import BrokerLink
from avtomatika.worker.runtime import Runtime

from ..support.processes import AVTOMATIKA, Process
from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office
from ..support.web import BLUEPRINT, WebServer
from ..support.workers import SCRIPT, WORKER_TOKEN, WORKERS_TOML


@pytest.fixture
def make_office() -> Iterator[Callable[..., Office]]:
    offices: list[Office] = []

    def make(url: str, **options: Any) -> Office:
        offices.append(Office(url, **options))
        return offices[-1]

    yield make
    for office in offices:
        office.close()


@pytest.fixture
def office(redis_url: str, make_office: Callable[..., Office]) -> Office:
    return make_office(redis_url)


@pytest.fixture
def run_link(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BrokerLink]]:
    """Run a worker's link in a thread until the test is over."""
    monkeypatch.setattr(broker_link, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(control, "_POLL_SECONDS", 0.02)
    running: list[tuple[BrokerLink, threading.Thread]] = []

    def run(
        worker: Worker,
        *,
        url: str = redis_url,
        concurrency: int = 4,
        lease_seconds: float = 30,
        shards: int = 1,
    ) -> BrokerLink:
        link = BrokerLink(
            Runtime(worker.skills, worker_id="worker-1", concurrency=concurrency),
            connection=broker.connect(url, prefixes=shard_prefixes("g0", shards), lease_seconds=lease_seconds),
            drain_timeout_seconds=5,
        )
        thread = threading.Thread(target=link.run)
        thread.start()
        running.append((link, thread))
        return link

    yield run
    for link, _ in running:
        link.stop()
    for _, thread in running:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def make_web(tmp_path: Path) -> Iterator[Callable[..., WebServer]]:
    webs: list[WebServer] = []

    def make(redis_url: str, **environ: str) -> WebServer:
        folder = tmp_path / f"web-{len(webs)}"
        folder.mkdir()
        if "WORKERS_CONFIG_PATH" in environ:
            (folder / "workers.toml").write_text(WORKERS_TOML)
            (folder / "workers.toml").chmod(0o600)
        webs.append(WebServer(folder, {"REDIS_URL": redis_url, **environ}))
        return webs[-1]

    yield make
    for web in webs:
        web.kill()


@pytest.fixture
def make_worker(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    programs: list[Process] = []

    def make(script: str = SCRIPT, **environ: str) -> Process:
        folder = tmp_path / f"worker-{len(programs)}"
        folder.mkdir()
        (folder / "my_worker.py").write_text(script)
        programs.append(Process([sys.executable, "my_worker.py"], folder, environ, log=folder / "log"))
        return programs[-1]

    yield make
    for program in programs:
        program.kill()


@pytest.fixture
def address(request: pytest.FixtureRequest, redis_url: str, make_web: Callable[..., WebServer]) -> str:
    """The worker's orchestrator."""
    if request.param == "redis":
        return redis_url
    return f"http://{make_web(redis_url, WORKER_TOKEN=WORKER_TOKEN).address}"


@pytest.fixture
def orchestrator(redis_url: str, tmp_path: Path) -> Iterator[Process]:
    folder = tmp_path / "orchestrator"
    folder.mkdir()
    (folder / "hello.py").write_text(BLUEPRINT)
    environ = {"REDIS_URL": redis_url, "BLUEPRINTS": "hello", "WORKER_TOKEN": WORKER_TOKEN, "PYTHONPATH": str(folder)}
    process = Process([*AVTOMATIKA, "orchestrator"], folder, environ, log=folder / "log")
    yield process
    process.kill()
