"""Tasks are routed to a worker that has cached their file, unless it is busy or dead: end to end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika import broker
from avtomatika.core.placement.cached_files import digest_of
from avtomatika.loading import load_blueprints
from avtomatika.store import NewJob, Store

from ..support.object_storage import ObjectStorage
from ..support.processes import Process
from ..support.waiting import wait_until
from ..support.web import WebServer

BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint("films", api_endpoint="jobs/films")

@bp.handler(is_start=True)
def start(initial_data, actions):
    actions.dispatch_task("show", initial_data, transitions={"success": "done"})

@bp.handler(is_end=True)
def done(by):
    return {"by": by}
"""

WORKER = """
import os
import time
from pathlib import Path
from avtomatika import Worker

worker = Worker()

@worker.skill()
def show(params):
    deadline = time.monotonic() + 60
    while "gate" in params and not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path(params["film"]).stat().st_size == 100_000
    return {"by": os.environ["WORKER_ID"]}

worker.run()
"""


class Cinema:
    """An orchestrator, a web process, and workers of one slot that have a cache each, in *folder*."""

    def __init__(self, url: str, cloud: ObjectStorage, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._cloud = cloud
        (folder / "blueprints").mkdir()
        (folder / "blueprints" / "films.py").write_text(BLUEPRINT)
        (folder / "my_worker.py").write_text(WORKER)
        [self._blueprint] = load_blueprints(str(folder / "blueprints"))
        with broker.connect(url) as connection:
            broker.declare(connection, [self._blueprint.plan])
        self.store = Store.connect(url)
        command = [sys.executable, "-m", "avtomatika.cli", "orchestrator"]
        self._programs = [Process(command, folder, {"REDIS_URL": url}, log=folder / "orchestrator.log")]
        (folder / "web").mkdir()
        self.web = WebServer(folder / "web", {"REDIS_URL": url, "WORKER_TOKEN": "the-workers-token"})

    def start_worker(self, worker_id: str, address: str) -> Process:
        environ = {
            "WORKER_ID": worker_id,
            "WORKER_TOKEN": "the-workers-token",
            "WORKER_CONCURRENCY": "1",
            "WORKER_CACHE_DIR": str(self.folder / f"cache of {worker_id}"),
            "WORKER_SPOOL_DIR": str(self.folder / f"spool of {worker_id}"),
            "ORCHESTRATOR_URL": address,
            "S3_ENDPOINT_URL": self._cloud.url,
            "S3_ACCESS_KEY": "a",
            "S3_SECRET_KEY": "b",
        }
        log = self.folder / f"{worker_id}.log"
        self._programs.append(Process([sys.executable, "my_worker.py"], self.folder, environ, log=log))
        wait_until(lambda: worker_id in [member.worker_id for member in self.store.registry.fleet()])
        return self._programs[-1]

    def wait_until_told(self, worker_id: str, uri: str) -> None:
        """Wait for the heartbeat of a worker by which it is free, and has the file."""

        def told() -> bool | None:
            fleet = {member.worker_id: member for member in self.store.registry.fleet(with_holdings=True)}
            return (digest_of(uri) in fleet[worker_id].cached_files and fleet[worker_id].load == 0) or None

        wait_until(told)

    def begin(self, film: str, **params: str) -> str:
        return self.store.create(NewJob(self._blueprint.plan, "tester", initial_data={"film": film, **params})).job_id

    def wait_until(self, job_id: str, event_type: str) -> None:
        wait_until(lambda: event_type in [kind for kind, _ in self.ways(job_id)])

    def done_by(self, job_id: str) -> str:
        """Return the worker that ran the task of a job."""

        def ended() -> Any:
            job = self.store.load(job_id)
            assert job is not None
            return job if job.status.is_final else None

        job = wait_until(ended)
        assert job.status == "finished", job
        by: str = job.result["by"]
        return by

    def ways(self, job_id: str) -> list[tuple[str, str | None]]:
        """Return the outcome of the task of a job, and its worker."""
        entries, _ = self.store.history(job_id)
        return [
            (each.entry.event_type, each.entry.worker_id)
            for each in entries
            if each.entry.event_type in ("task_routed", "task_rerouted", "task_taken", "task_succeeded")
        ]

    def close(self) -> None:
        self.web.kill()
        for program in self._programs:
            program.kill()
        self.store.close()


@pytest.fixture
def cinema(redis_url: str, cloud: ObjectStorage, tmp_path: Path) -> Iterator[Cinema]:
    cinema = Cinema(redis_url, cloud, tmp_path)
    yield cinema
    cinema.close()


@pytest.mark.faults
def test_tasks_are_routed_to_workers_with_their_file_unless_busy_or_dead(
    cinema: Cinema, cloud: ObjectStorage, inputs: str, tmp_path: Path
) -> None:
    film = cloud.put(inputs, "lake.mov", os.urandom(100_000))
    on_the_broker = cinema.start_worker("on-the-broker", cinema.url)
    assert cinema.done_by(cinema.begin(film)) == "on-the-broker"
    cinema.start_worker("over-http", f"http://{cinema.web.address}")
    cinema.wait_until_told("on-the-broker", film)

    # the one that has it does it, though the other waits for tasks
    again = cinema.begin(film)
    assert cinema.done_by(again) == "on-the-broker"
    assert cinema.ways(again)[:2] == [("task_routed", "on-the-broker"), ("task_taken", "on-the-broker")]

    # while that one is busy the other does it, and has it from then on
    gate = tmp_path / "gate"
    busy = cinema.begin(film, gate=str(gate))
    cinema.wait_until(busy, "task_taken")
    assert cinema.done_by(cinema.begin(film)) == "over-http"
    gate.touch()
    assert cinema.done_by(busy) == "on-the-broker"
    for worker_id in ("on-the-broker", "over-http"):
        cinema.wait_until_told(worker_id, film)

    # both have it: they take turns, and what goes to a dead one comes back
    on_the_broker.kill()
    alive, dead = cinema.begin(film), cinema.begin(film)
    assert [cinema.done_by(alive), cinema.done_by(dead)] == ["over-http", "over-http"]
    assert {cinema.ways(job_id)[0] for job_id in (alive, dead)} == {
        ("task_routed", "over-http"),
        ("task_routed", "on-the-broker"),
    }
    [rerouted] = [job_id for job_id in (alive, dead) if ("task_rerouted", "on-the-broker") in cinema.ways(job_id)]
    assert cinema.ways(rerouted)[-2:] == [("task_taken", "over-http"), ("task_succeeded", "over-http")]
