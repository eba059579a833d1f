"""Single tasks while processes are killed with -9: each ends once, and runs once unless its worker was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from avtomatika import broker
from avtomatika.client import Client
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.signing import GroupSecret
from avtomatika.store import NewJob, Store

from ..support.installation import SECRET_KEY, Installation, is_ready
from ..support.ports import free_port
from ..support.servers import OwnServer
from ..support.waiting import wait_until

TASKS = 1000
#: Tasks that one call creates.
_BATCH = 100

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.fixture
def installation(own_server: OwnServer, tmp_path: Path) -> Iterator[Installation]:
    with Installation(own_server.url, tmp_path, blueprint="single_tasks", WORKER_POOL="thread") as made:
        made.also("orchestrator-2", like="orchestrator")
        yield made


@pytest.fixture
def store(own_server: OwnServer, installation: Installation) -> Iterator[Store]:
    with broker.connect(own_server.url) as connection:
        broker.declare_tasks(connection, ["record"])
    with closing(Store.connect(own_server.url, secret=GroupSecret(SECRET_KEY))) as made:
        yield made


def send(store: Store, places: Sequence[int], **params: Any) -> list[str]:
    key = f"tasks-{places[0]}"
    news = [
        NewJob(
            plan=SINGLE_TASKS.plan,
            client="me",
            skill="record",
            initial_data={"place": place, **params},
            idempotency_key=key,
        )
        for place in places
    ]
    return [created.job_id for created in store.create_many(news)]


def has_finished(store: Store, count: int) -> bool:
    """Return True if more than *count* tasks have finished."""
    return store.count("finished") > count


def have_ended(store: Store, ids: Sequence[str]) -> bool:
    return all(job is not None and job.status.is_final for job in store.load_many(ids))


def runs(folder: Path) -> Counter[str]:
    """Return the number of runs of each job's task."""
    return Counter(line.partition(".")[0] for line in (folder / "runs").read_text().splitlines())


def results(store: Store, ids: Sequence[str]) -> list[tuple[str, Any]]:
    return [(job.status, job.result) for job in store.load_many(ids) if job is not None]


def test_a_thousand_tasks_run_once_while_orchestrators_are_killed_in_turn(
    installation: Installation, store: Store, tmp_path: Path
) -> None:
    ids: list[str] = []
    for number, start in enumerate(range(0, TASKS, _BATCH)):
        ids += send(store, range(start, start + _BATCH), seconds=0.02)
        wait_until(partial(has_finished, store, start - _BATCH), 30, "the other orchestrator ends tasks")
        installation.restart(("orchestrator", "orchestrator-2")[number % 2])

    wait_until(lambda: have_ended(store, ids), 90, "all tasks have ended", pause_seconds=0.2)

    assert results(store, ids) == [("finished", {"place": place}) for place in range(TASKS)]
    assert runs(tmp_path) == Counter(ids)


@pytest.mark.parametrize("mode", ["FAILOVER", "ROUND_ROBIN"])
def test_a_client_sends_a_thousand_tasks_while_web_processes_are_killed_in_turn(
    installation: Installation, store: Store, tmp_path: Path, mode: str
) -> None:
    port = free_port()
    ports = {"web": {}, "web-2": {"API_PORT": str(port)}}
    installation.also("web-2", like="web", **ports["web-2"])
    urls = [installation.base_url, f"http://127.0.0.1:{port}"]

    def wait_for_both() -> None:
        wait_until(lambda: all(map(is_ready, urls)), 30, "both web processes are ready")

    def restart(role: str) -> None:
        installation.restart(role, **ports[role])
        wait_for_both()

    wait_for_both()

    ids: list[str] = []
    with Client(urls, installation.token, mode=mode) as client, ThreadPoolExecutor(1) as killer:
        for number, start in enumerate(range(0, TASKS, 2 * _BATCH)):
            restarted = killer.submit(restart, ("web", "web-2")[number % 2])
            for place in range(start, start + 2 * _BATCH):
                ids.append(client.send_task("record", {"place": place})["job_id"])
            restarted.result()

    wait_until(lambda: have_ended(store, ids), 90, "all tasks have ended", pause_seconds=0.2)
    assert results(store, ids) == [("finished", {"place": place}) for place in range(TASKS)]
    assert runs(tmp_path) == Counter(ids)


def test_tasks_of_a_killed_worker_run_again_and_count_once(
    installation: Installation, store: Store, tmp_path: Path
) -> None:
    ids = send(store, range(40), seconds=0.5)
    wait_until(lambda: (tmp_path / "runs").exists() and runs(tmp_path), 30, "a task runs")

    installation.restart("worker")
    wait_until(lambda: have_ended(store, ids), 60, "all tasks have ended", pause_seconds=0.2)

    assert results(store, ids) == [("finished", {"place": place}) for place in range(40)]
    assert set(runs(tmp_path)) == set(ids)
    assert max(runs(tmp_path).values()) == 2
