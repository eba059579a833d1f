"""What pages cost: round trips to the server, commands there and bytes from it, however many jobs there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import redis
from flask.testing import FlaskClient

from avtomatika.store import NewJob, Store, traffic

from ..conftest import OPERATOR_TOKEN, video
from .conftest import log_in, round_trips

PATHS = (
    "/",
    "/jobs",
    "/jobs?status=pending&label=n=1",
    "/approvals",
    "/blueprints",
    "/blueprints/video",
    "/workers",
    "/queues",
    "/queues/encode",
    "/dead-letters",
)
#: The check of the session is one round trip; a page takes two.
MOST_TRIPS = 3
#: Jobs that a script examines at most, with a command for each.
EXAMINED = {"/blueprints/video": 2000}
#: The least of some attempts: the clock of the server is read from time to time.
ATTEMPTS = 3


def create(store: Store, count: int) -> None:
    news = [NewJob(plan=video.plan, client="operator", labels={"n": str(n % 2)}) for n in range(100)]
    for _ in range(count // 100):
        store.create_many(news)


def costs(redis_url: str, call: Callable[[], object]) -> tuple[int, int, int]:
    """Return the least round trips, commands and bytes of replies of *call*."""
    names = ("total_commands_processed", "total_net_output_bytes")
    found = []
    with redis.Redis.from_url(redis_url) as server:
        for _ in range(ATTEMPTS):
            before = [server.info("stats")[name] for name in names]
            between = [server.info("stats")[name] for name in names]
            trips = round_trips(redis_url, call)
            after = [server.info("stats")[name] for name in names]
            own = [last - first for first, last in zip(before, between, strict=True)]
            found.append((trips, *(last - first - each for first, last, each in zip(between, after, own, strict=True))))
    return tuple(map(min, zip(*found, strict=True)))  # type: ignore[return-value]


def test_pages_cost_the_same_with_100_and_with_5000_jobs(
    browser: FlaskClient, store: Store, jobs: dict[str, str], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "_FRESH_SECONDS", 0.0)
    paths = [*PATHS, *(f"/jobs/{job_id}" for job_id in jobs.values())]
    log_in(browser, OPERATOR_TOKEN)
    measured: list[Mapping[str, tuple[int, int, int]]] = []
    for more in (100, 4900):
        create(store, more)
        measured.append({path: costs(redis_url, lambda path=path: browser.get(path)) for path in paths})

    few, many = measured
    assert {path: cost[0] for path, cost in many.items() if cost[0] > MOST_TRIPS} == {}
    for path in paths:
        (_, commands, size), (_, more_commands, more_size) = few[path], many[path]
        assert more_commands <= commands + EXAMINED.get(path, 20), path
        assert more_size <= 1.2 * size + 2000, path
