"""Loops survive unexpected input: no process ends, and no other job fails."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import redis

from avtomatika.core.job import Job, JobStatus
from avtomatika.store import Store

from ..support.installation import Installation
from ..support.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

#: Fields of foreign stream entries.
ODD: list[dict[str, Any]] = [
    {"x": "y"},
    {"p": "no message"},
    {"p": '{"headers":{},"properties":{}}\n{}', "x": "soon", "n": "often"},
    {"p": '{"content-type":"application/json","headers":{"x-on-dead":7},"properties":{}}\n[1'},
    {b"\xff": b"\xfe"},
]


def test_handlers_that_hang_cost_their_own_jobs_and_no_other(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server = make_server()
    with (
        Installation(server.url, tmp_path, blueprint="hostile", HANDLER_TIMEOUT="1") as installation,
        closing(Store.connect(server.url)) as store,
    ):
        client = installation.client()
        ill = [client.submit("hangs", {})["job_id"] for _ in range(3)]
        ill += [client.submit("blocks", {"how": how})["job_id"] for how in ("loop", "thread", "task") for _ in range(2)]
        well = [client.submit("steady", {})["job_id"] for _ in range(30)]
        wait_until(lambda: all_over(store, well), 60)
        well += [client.submit("steady", {})["job_id"] for _ in range(30)]
        wait_until(lambda: all_over(store, [*ill, *well]), 120)
        jobs, others = loaded(store, ill), loaded(store, well)
        alive = installation.alive()

    assert {job.status for job in others} == {JobStatus.FINISHED}
    assert {job.status for job in jobs} == {JobStatus.ERROR}
    assert {str((job.error or {})["message"]).partition(": ")[2] for job in jobs} == {
        "the handler exceeded HANDLER_TIMEOUT=1 seconds"
    }
    assert alive == {"orchestrator", "worker", "web"}


def test_odd_entries_and_forgotten_scripts_end_nobody(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server = make_server()
    with (
        Installation(server.url, tmp_path, blueprint="hostile") as installation,
        closing(Store.connect(server.url)) as store,
    ):
        client = installation.client()
        with pestered(server.url):
            jobs = [client.submit("steady", {})["job_id"] for _ in range(60)]
            wait_until(lambda: all_over(store, jobs), 120)
        ended = loaded(store, jobs)
        alive = installation.alive()
        wait_until(lambda: not left(server.url), 60)

    assert {job.status for job in ended} == {JobStatus.FINISHED}
    assert alive == {"orchestrator", "worker", "web"}


@contextmanager
def pestered(url: str) -> Iterator[None]:
    """Flush all scripts and add foreign entries to every stream, repeatedly."""
    stop, chance = Event(), random.Random(7)

    def pester() -> None:
        with redis.Redis.from_url(url) as client:
            while not stop.is_set():
                client.script_flush()
                for key in client.scan_iter("{avt.g0}:*", _type="stream"):
                    if chance.random() < 0.05 and not key.endswith(b":dead"):
                        client.xadd(key, chance.choice(ODD))

    thread = Thread(target=pester)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def left(url: str) -> list[bytes]:
    """Return the streams of consumed queues that still hold messages."""
    with redis.Redis.from_url(url) as client:
        queues = [b"avt.timers", b"avt.workers", b"avt.webhooks", b"work"]
        keys = [b"{avt.g0}:q:%b:0" % queue for queue in queues] + list(client.scan_iter("{avt.g0}:q:steps.*:0"))
        return [key for key in keys if client.xlen(key)]


def loaded(store: Store, job_ids: Iterable[str]) -> list[Job]:
    return [job for job in store.load_many(list(job_ids)) if job is not None]


def all_over(store: Store, job_ids: Iterable[str]) -> bool:
    return all(job.status.is_final or job.status is JobStatus.QUARANTINED for job in loaded(store, job_ids))
