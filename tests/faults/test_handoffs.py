"""A worker with a link to the broker and one to the web, whose connection to the broker is cut repeatedly, with kill -9
in between: nothing is lost or done twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from avtomatika.store import Store

from ..support.installation import Installation
from ..support.scale import SCALE, chance
from ..support.tcp_proxy import TcpProxy
from ..support.waiting import wait_until
from .test_kills import found_violations, wait_for_ends
from .three import worker

CUTS = min(3 * SCALE, 20)
JOBS_A_CUT = 25
#: It takes a quarter of this to detect that the broker is unavailable.
LEASE_SECONDS = 6

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180 + 60 * CUTS)]


def are_held(url: str) -> bool:
    """Return True if the worker has unacknowledged tasks."""
    with redis.Redis.from_url(url, decode_responses=True) as server:
        queues = [f"{{avt.g0}}:q:{skill}:0" for skill in worker.skills]
        return any(group["pending"] for queue in queues if server.exists(queue) for group in server.xinfo_groups(queue))


def test_every_job_ends_rightly_though_the_way_to_the_broker_is_cut(
    make_server: Callable[..., Any], tmp_path: Path
) -> None:
    dice = chance("handoffs")
    server = make_server()
    address = urlsplit(server.url)
    environ = {
        "WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
        "WORKER_CONCURRENCY": "8",
        "WORKER_TOKEN": "token-of-the-storm",
    }
    environ["WORKER_SPOOL_DIR"] = str(tmp_path / "spool")
    with (
        TcpProxy(address.port or 0, seed=dice.randrange(1000)) as way,
        Installation(server.url, tmp_path, **environ) as installation,
        closing(Store.connect(server.url)) as store,
    ):
        urls = [address._replace(netloc=f"127.0.0.1:{way.port}").geturl(), installation.base_url]
        both = json.dumps([{"url": url} for url in urls])
        installation.restart("worker", ORCHESTRATORS_CONFIG=both)
        client = installation.client()
        ids: dict[int, str] = {}
        for cut in range(CUTS):
            for n in range(len(ids), len(ids) + JOBS_A_CUT):
                ids[n] = client.submit("three", {"n": n})["job_id"]
            wait_until(lambda: are_held(server.url), 60, "the worker has tasks")
            sleep(dice.uniform(0, 0.5))
            way.refuse()
            sleep(dice.uniform(2, 5))
            victim = ["nobody", "worker", "web"][cut % 3]
            if victim != "nobody":
                installation.restart(victim, ORCHESTRATORS_CONFIG=both)
            way.accept()
            sleep(dice.uniform(0.5, 3))
        wait_for_ends(store, ids, within_seconds=60 + 5 * LEASE_SECONDS + len(ids))
        found = found_violations(store, ids)
    told = (tmp_path / "worker.log").read_text()
    kept = sum(map(int, re.findall(r"(\d+) of \d+ tasks from the broker are now kept over HTTP", told)))
    print(f"{len(ids)} jobs, {CUTS} cuts, {kept} tasks went over to the web: {len(found)} violations")

    assert found == []
    assert kept > 0, "no cut has met a task"
