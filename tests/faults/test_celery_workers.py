"""A stock Celery worker does the task of a blueprint, and single tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.installation import PROGRAMS, Installation
from ..support.processes import Process
from ..support.waiting import wait_until

LIMIT_SECONDS = 40

pytestmark = pytest.mark.faults


class CeleryWorker:
    """The process of a Celery worker, to be killed and restarted."""

    def __init__(self, url: str, folder: Path) -> None:
        self._command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "celery",
            "--app",
            "celery_shop",
            "worker",
            "--pool",
            "solo",
        ]
        self._folder = folder
        self._env = {"CELERY_BROKER": url, "PYTHONPATH": f"{PROGRAMS}:{PROGRAMS.parents[1]}"}
        self.start()

    def start(self) -> None:
        self.process = Process(self._command, self._folder, self._env, log=self._folder / "celery.log")

    @property
    def runs(self) -> list[str]:
        runs = self._folder / "runs"
        return runs.read_text().splitlines() if runs.exists() else []


@pytest.fixture
def installation(redis_url: str, tmp_path: Path) -> Iterator[Installation]:
    tasks = "resize=shop.resize, publish=shop.publish@media"
    with Installation(
        redis_url, tmp_path, blueprint="thumbnails", WORKER_TOKEN="token-of-workers", CELERY_TASKS=tasks
    ) as made:
        yield made


@pytest.fixture
def celery_worker(redis_url: str, tmp_path: Path) -> Iterator[CeleryWorker]:
    made = CeleryWorker(redis_url, tmp_path)
    yield made
    made.process.kill()


def test_jobs_finish_and_fail_with_the_tasks_of_a_celery_worker(
    installation: Installation, celery_worker: CeleryWorker
) -> None:
    client = installation.client()
    done = client.submit("thumbnails", {"image": "a.jpg"})["job_id"]
    broken = client.submit("thumbnails", {"image": "broken"})["job_id"]
    single = client.send_task("resize", {"image": "b.jpg"})["job_id"]

    assert client.wait(done, timeout=LIMIT_SECONDS)["result"] == "a.jpg@320"
    assert client.wait(single, timeout=LIMIT_SECONDS)["result"] == {"result": "b.jpg@320"}
    failed = client.wait(broken, timeout=LIMIT_SECONDS)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "TRANSIENT_ERROR")
    assert failed["error"]["message"] == "ValueError: ['no image']"
    assert sorted(celery_worker.runs) == ["a.jpg", "b.jpg", "broken", "broken"]
    events = {event["event_type"]: event["worker_id"] for event in client.history(done)["events"]}
    assert (events["task_taken"], events["task_succeeded"]) == ("celery", "celery")


def test_the_task_of_a_killed_celery_worker_is_done_by_the_next(
    installation: Installation, celery_worker: CeleryWorker
) -> None:
    client = installation.client()
    job = client.submit("thumbnails", {"image": "a.jpg", "seconds": 1.0})["job_id"]
    wait_until(lambda: celery_worker.runs, LIMIT_SECONDS, lambda: celery_worker.process.log)

    celery_worker.process.kill()
    installation.restart("orchestrator")
    celery_worker.start()

    assert client.wait(job, timeout=LIMIT_SECONDS)["result"] == "a.jpg@320"
    assert celery_worker.runs == ["a.jpg", "a.jpg"]
