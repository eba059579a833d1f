"""Metrics of real processes, scraped while they work, add up to what the store says."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
import requests

from avtomatika.store import Store

from ..support.installation import Installation
from ..support.ports import free_port
from ..support.waiting import wait_until
from ..web.test_metrics import samples

pytestmark = pytest.mark.faults
JOBS = 500
TASKS = 3 * JOBS


class Scraper:
    """Scrapes the processes of an installation, as Prometheus does, and adds up their counts."""

    def __init__(self, web: str, ports: list[int]) -> None:
        self._urls = [f"{web}/metrics", *(f"http://127.0.0.1:{port}/metrics" for port in ports)]
        self.scrapes = 0

    def total(self) -> Counter[tuple[str, ...]]:
        found = Counter[tuple[str, ...]]()
        for url in self._urls:
            response = requests.get(url, headers={"Authorization": "Bearer token-of-scrapers"}, timeout=30)
            assert response.status_code == 200, response.text
            found.update(samples(response.text))
        self.scrapes += 1
        return found

    def run(self, stop: Event, falls: list[tuple[str, ...]]) -> None:
        """Scrape until *stop*; add counters that fell to *falls*."""
        before = self.total()
        while not stop.wait(0.3):
            now = self.total()
            falls += [key for key, value in before.items() if key[0].endswith("_total") and now[key] < value]
            before = now


@pytest.mark.timeout(600)
def test_counts_of_500_jobs_add_up_to_what_the_store_says(redis_url: str, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(4)]
    environment = {"METRICS_TOKEN": "token-of-scrapers", "WORKER_CONCURRENCY": "100", "WEB_CONCURRENCY": "2"}
    installation = Installation(redis_url, tmp_path, **environment)
    stop, falls = Event(), list[tuple[str, ...]]()
    with installation, closing(Store.connect(redis_url)) as store:
        installation.restart("orchestrator", METRICS_PORT=str(ports[0]))
        installation.restart("worker", METRICS_PORT=str(ports[1]))
        installation.also("orchestrator 2", like="orchestrator", METRICS_PORT=str(ports[2]))
        installation.also("worker 2", like="worker", METRICS_PORT=str(ports[3]), WORKER_ID="storm-2")
        for port in ports:
            wait_until(lambda port=port: _answers(port), 60, f"metrics at {port}")  # type: ignore[misc]
        scraper = Scraper(installation.base_url, ports)
        thread = Thread(target=scraper.run, args=(stop, falls))
        thread.start()
        client = installation.client()
        for _ in range(JOBS // 100):
            client.submit_many("three", [{"initial_data": {"n": 1}} for _ in range(100)])
        wait_until(lambda: store.overview.read().jobs["finished"] == JOBS, 400, lambda: store.overview.read().jobs)
        stop.set()
        thread.join()
        found, jobs = scraper.total(), store.overview.read().jobs

    assert scraper.scrapes > 5
    assert falls == []
    assert {status: found["avtomatika_jobs", f"status={status}"] for status in jobs} == dict(jobs)
    assert found["avtomatika_jobs_started_total", "blueprint=three"] == JOBS
    assert found["avtomatika_jobs_ended_total", "blueprint=three", "status=finished"] == JOBS
    assert found["avtomatika_job_duration_seconds_count", "blueprint=three"] == JOBS
    assert found["avtomatika_task_results_total", "outcome=success", "skill=add"] == TASKS
    assert found["avtomatika_task_duration_seconds_count", "skill=add"] == TASKS
    assert found["avtomatika_worker_tasks_total", "outcome=success", "skill=add"] >= TASKS
    assert found["avtomatika_steps_total", "blueprint=three"] == found["avtomatika_commits_total", "answer=OK"]
    assert JOBS < found["avtomatika_steps_total", "blueprint=three"] <= JOBS + TASKS
    assert found["avtomatika_leases_total", "event=renewed"] > 0
    created = ("avtomatika_http_requests_total", "endpoint=creation.three-batch", "method=POST", "status=202")
    assert found[created] == JOBS // 100


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).status_code == 401
    except requests.RequestException:
        return False
