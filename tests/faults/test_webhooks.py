"""Webhooks while their process is killed and receivers fail: every end is delivered and recorded."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.errors import AvtomatikaError
from avtomatika.store import Store

from ..support.installation import Installation
from ..support.scale import SCALE
from ..support.webhook_receiver import Receiver, Request
from .checker import violations
from .three import STATES

JOBS = min(60 * SCALE, 300)
ROUNDS = min(4 * SCALE, 15)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 + 10 * ROUNDS)]


def moody(request: Request) -> int:
    """Fail every fifth attempt."""
    return 500 if random.random() < 0.2 else 200


def create_jobs(installation: Installation, receiver: Receiver, ids: dict[int, str]) -> None:
    client = installation.client()
    for n in range(JOBS):
        while n not in ids:
            try:
                url = receiver.url(f"/hook/{n}")
                ids[n] = client.submit("three", {"n": n}, idempotency_key=f"job-{n}", webhook_url=url)["job_id"]
            except AvtomatikaError:
                sleep(0.1)


def sent(store: Store, job_id: str) -> int:
    """Return the number of deliveries in the history."""
    while True:
        try:
            entries, _ = store.history(job_id, limit=10_000)
        except AvtomatikaError:
            sleep(0.1)
        else:
            return [each.entry.event_type for each in entries].count("webhook_sent")


def test_every_end_is_told_whoever_is_killed(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server = make_server(appendfsync="always")
    receiver = Receiver(moody)
    ids: dict[int, str] = {}
    with (
        Installation(server.url, tmp_path, WEBHOOK_ALLOW="127.0.0.1") as installation,
        closing(Store.connect(server.url)) as store,
    ):
        creator = threading.Thread(target=create_jobs, args=(installation, receiver, ids))
        creator.start()
        for round_ in range(ROUNDS):
            sleep(2.0)
            if round_ % 4 == 3:
                server.kill()
                server.start()
            else:
                installation.restart("orchestrator")
        creator.join(timeout=60)
        deadline = monotonic() + 120 + JOBS / 3
        while (untold := [job_id for job_id in ids.values() if not sent(store, job_id)]) and monotonic() < deadline:
            sleep(0.5)
        found = [
            text
            for n, job_id in ids.items()
            for text in violations(store, job_id, states=STATES, result={"sum": 3 * n})
        ]
        twice = {job_id: times for job_id in ids.values() if (times := sent(store, job_id)) != 1}
    receiver.close()
    came = Counter(request.json["data"]["id"] for request in receiver.requests)
    print(f"{len(ids)} jobs, {ROUNDS} kills: {sum(came.values())} requests, {len(untold)} ends untold")

    assert len(ids) == JOBS
    assert (untold, found, twice) == ([], [], {})
    assert set(came) == set(ids.values())
    assert {request.json["type"] for request in receiver.requests} == {"job.finished"}
