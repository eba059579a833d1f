"""Jobs in flight on a cluster while primaries hand over and their slot moves: nothing is lost or done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from avtomatika.store import Store
from avtomatika.transport.keys import PREFIX

from ..support.cluster import Cluster
from ..support.installation import Installation
from .test_kills import JOBS, create_jobs, found_violations, unfinished, wait_for_ends

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def test_every_job_ends_rightly_whoever_owns_its_slot(make_server: Callable[..., Any], tmp_path: Path) -> None:
    cluster = Cluster(make_server, primaries=3, has_replicas=True)
    ids: dict[int, str] = {}
    under_way = []
    with Installation(cluster.url, tmp_path) as installation, closing(Store.connect(cluster.url)) as store:
        creator = threading.Thread(target=create_jobs, args=(installation, ids))
        creator.start()
        for _ in range(2):
            sleep(1.0)
            owner = cluster.owner_of(PREFIX)
            under_way.append(unfinished(store, ids))
            cluster.fail_over(owner)
            sleep(2.0)
            under_way.append(unfinished(store, ids))
            cluster.migrate(PREFIX, cluster.other_primary(PREFIX))
        creator.join(timeout=120)
        wait_for_ends(store, ids, within_seconds=60 + JOBS / 5)
        found = found_violations(store, ids)
        print(f"{len(ids)} jobs, 2 failovers and 2 moved slots: {len(found)} violations")

    assert len(ids) == JOBS
    assert min(under_way) > 0, f"jobs under way at each change: {under_way}: it came when all was over"
    assert found == []
