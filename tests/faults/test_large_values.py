"""Many results of several MB go through S3: every job ends with its value, and the server's memory stays small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from avtomatika.client.answers import Job

from ..support.installation import Installation
from ..support.object_storage import ObjectStorage
from ..support.scale import SCALE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

#: 200 MB of results, 2 GB in a soak test.
JOBS, SIZE = 50 * SCALE, 4_000_000
#: Limit of the growth of the server's memory.
MEMORY_BYTES = 50_000_000


def test_results_of_gigabytes_leave_the_memory_of_the_server_small(
    make_server: Callable[..., Any], tmp_path: Path, seaweed: ObjectStorage
) -> None:
    server = make_server()
    environment = {
        "S3_ENDPOINT_URL": seaweed.url,
        "S3_ACCESS_KEY": "minioadmin",
        "S3_SECRET_KEY": "minioadmin",
        "S3_BUCKET": seaweed.make_bucket(),
    }
    with (
        Installation(server.url, tmp_path, blueprint="large", **environment) as installation,
        redis.Redis.from_url(server.url) as connection,
    ):
        client = installation.client()
        before = connection.info("memory")["used_memory"]
        job_ids = [client.submit("large", {"size": SIZE})["job_id"] for _ in range(JOBS)]
        ended = {_summary(client.wait(job_id, timeout=1200)) for job_id in job_ids}
        grown = connection.info("memory")["used_memory_peak"] - before

    print(f"{JOBS} jobs of {SIZE} bytes; the server's memory grew by {grown} bytes")
    assert ended == {("finished", SIZE, SIZE)}
    assert grown < MEMORY_BYTES


def _summary(job: Job) -> tuple[str, int, int]:
    result = job["result"] or {}
    return job["status"], len(result.get("rows", "")), result.get("length", 0)
