"""Signals and unique keys while every process, including the server, is killed with -9: each signal is taken once, no
two jobs with one key run at a time, and no key is left."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from time import sleep
from typing import Any

import pytest

from avtomatika.errors import AvtomatikaError
from avtomatika.store import Store

from ..support.installation import Installation
from ..support.scale import SCALE, chance
from .test_kills import unfinished, wait_for_ends

SHELVES = 8
JOBS = min(64 * SCALE, 400)
ROUNDS = min(2 * SCALE, 15)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + 20 * ROUNDS)]


def create_and_pay(installation: Installation, ids: dict[int, str], dice: Random, storm: threading.Event) -> None:
    """Create jobs and send each its two signals, before or during its waits, each request until it is confirmed; some
    not until the *storm* is over."""
    client = installation.client()

    def confirm(request: Callable[..., Any], *args: Any, **options: Any) -> Any:
        while True:
            try:
                return request(*args, **options)
            except AvtomatikaError:
                sleep(0.1)

    unpaid: list[tuple[int, int]] = []
    for n in range(JOBS):
        made = confirm(client.submit, "purchases", {"n": n, "shelf": n % SHELVES}, idempotency_key=f"job-{n}")
        ids[n] = made["job_id"]
        unpaid.append((n, 1))
        if n == JOBS - 1:
            storm.wait(timeout=120)
        while len(unpaid) > (0 if storm.is_set() else 4) and (dice.random() < 0.6 or n == JOBS - 1):
            job, part = unpaid.pop(dice.randrange(len(unpaid)))
            confirm(client.signal, ids[job], "paid", {"part": part}, idempotency_key=f"part-{part}")
            if part == 1:
                unpaid.append((job, 2))


def runs(store: Store, job_id: str) -> tuple[int, int]:
    """When the first handler of a job ran, and when the job ended, by the server's clock."""
    history, _ = store.history(job_id)
    [started, *_] = [each.timestamp_ms for each in history if each.entry.event_type == "state_entered"]
    return started, history[-1].timestamp_ms


def test_each_signal_is_taken_once_and_one_job_of_a_key_runs(make_server: Callable[..., Any], tmp_path: Path) -> None:
    dice = chance("purchases")
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    under_way, storm = [], threading.Event()
    with (
        Installation(server.url, tmp_path, blueprint="purchases") as installation,
        closing(Store.connect(server.url)) as store,
    ):
        creator = threading.Thread(target=create_and_pay, args=(installation, ids, dice, storm))
        creator.start()
        for _ in range(ROUNDS):
            for role in ("orchestrator", "worker", "web", "server"):
                sleep(dice.uniform(0.3, 1.0))
                under_way.append(unfinished(store, ids))
                if role == "server":
                    server.kill()
                    server.start()
                else:
                    installation.restart(role)
        storm.set()
        creator.join(timeout=120)
        wait_for_ends(store, ids, within_seconds=60 + JOBS)
        jobs = {n: store.load(job_id) for n, job_id in ids.items()}
        histories = {n: [each.entry.event_type for each in store.history(job_id)[0]] for n, job_id in ids.items()}
        times = {n: runs(store, job_id) for n, job_id in ids.items()}
        left = store._server.execute(("KEYS", "*:unique:*"))

    assert len(ids) == JOBS
    assert min(under_way[1:]) > 0, f"jobs under way at each kill: {under_way}: the storm came when all was over"
    assert {n: job.result for n, job in jobs.items() if job is not None and job.result != [1, 2]} == {}
    for kind in ("signal_received", "signal_taken"):
        assert {n: told for n, told in histories.items() if told.count(kind) != 2} == {}
    for shelf in range(SHELVES):
        line = sorted(times[n] for n in range(shelf, JOBS, SHELVES))
        assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(line)), line
    assert left == []
