"""Jobs that kill their processes are quarantined with the reason, and affect no other job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.core.job import JobStatus
from avtomatika.store import Store

from ..support.installation import Installation

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("victim", "pool", "code", "words"),
    [
        (
            "worker",
            "thread",
            "PERMANENT_ERROR",
            "the process of the skill ended with exit code 66, and earlier deliveries failed as well",
        ),
        ("worker", "process", "TRANSIENT_ERROR", "the process of the skill ended with exit code 66"),
        ("orchestrator", "process", "DEAD_LETTER", "max_deliveries, after 5 deliveries"),
    ],
)
def test_a_poisonous_job_is_quarantined_and_the_others_finish(
    make_server: Callable[..., Any], tmp_path: Path, victim: str, pool: str, code: str, words: str
) -> None:
    server = make_server()
    with (
        Installation(server.url, tmp_path, blueprint="poison", WORKER_POOL=pool) as installation,
        closing(Store.connect(server.url)) as store,
    ):
        client = installation.client()
        well = [client.submit("poison", {"kills": "nobody"})["job_id"] for _ in range(20)]
        ill = client.submit("poison", {"kills": victim})["job_id"]
        well += [client.submit("poison", {"kills": "nobody"})["job_id"] for _ in range(20)]

        deadline = monotonic() + 120
        while not all(_is_at_rest(store, job_id) for job_id in (ill, *well)) and monotonic() < deadline:
            installation.revive(victim)
            sleep(0.1)
        job = store.load(ill)
        ends = {each.status for each in store.load_many(well) if each is not None}

    assert job is not None
    assert job.status is JobStatus.QUARANTINED
    assert job.error is not None
    assert job.error["code"] == code
    assert words in job.error["message"]
    assert ends == {JobStatus.FINISHED}


def _is_at_rest(store: Store, job_id: str) -> bool:
    job = store.load(job_id)
    return job is not None and (job.status.is_final or job.status is JobStatus.QUARANTINED)
