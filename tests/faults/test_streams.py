"""A long stream while its worker, link, web process and server fail: readers get every chunk once, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import pytest

from avtomatika.client import Client
from avtomatika.client.answers import StreamEntry

from ..support.http_proxy import HttpProxy
from ..support.installation import Installation
from ..support.scale import SCALE, chance
from ..support.servers import OwnServer
from ..support.tcp_proxy import TcpProxy
from ..support.waiting import wait_until

CHUNKS = min(1_000 * SCALE, 10_000)
#: The last of the five deliveries of a task ends it.
KILLS = 3

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + CHUNKS // 20)]


@contextmanager
def reading(client: Client, job_id: str) -> Iterator[list[StreamEntry]]:
    """Yield the list that a thread extends with what it reads, until the stream ends."""
    entries: list[StreamEntry] = []
    thread = Thread(target=lambda: entries.extend(client.stream(job_id)), daemon=True)
    thread.start()
    yield entries
    thread.join(60)
    assert not thread.is_alive(), f"the stream has not ended after {len(entries)} entries"


def grows(entries: list[StreamEntry], by: int) -> Callable[[], bool]:
    """Return a condition: *by* more entries, or the last one that the task writes."""
    target = len(entries) + by
    return lambda: len(entries) >= target or (entries != [] and entries[-1]["data"] == CHUNKS - 1)


def runs(entries: list[StreamEntry]) -> list[list[Any]]:
    """Return the data of each run of the task; a ``restart`` separates them."""
    parts = groupby(entries, key=lambda entry: entry["kind"] == "restart")
    return [[(entry["kind"], entry["data"]) for entry in part] for is_mark, part in parts if not is_mark]


@pytest.mark.parametrize("link", ["broker", "http"])
def test_a_reader_gets_every_chunk_of_the_last_run_once_in_order(
    make_server: Callable[..., Any], tmp_path: Path, link: str
) -> None:
    dice, server = chance(f"streams-{link}"), make_server(appendfsync="always")
    environment = {"MAX_STREAM_BYTES": "100000000", "WORKER_TOKEN": "worker-token-of-the-storm"}
    with Installation(server.url, tmp_path, blueprint="long_stream", **environment) as installation:
        target = urlsplit(server.url if link == "broker" else installation.base_url)
        with TcpProxy(target.port or 0, seed=dice.randrange(1000)) as way:
            url = target._replace(netloc=f"127.0.0.1:{way.port}").geturl()
            own = {"REDIS_URL" if link == "broker" else "ORCHESTRATOR_URL": url}
            installation.restart("worker", **own)
            client = installation.client()
            job_id = client.send_task("count", {"to": CHUNKS})["job_id"]
            with reading(client, job_id) as entries:
                for _ in range(KILLS):
                    wait_until(grows(entries, dice.randrange(100, CHUNKS // 2)), 60, "a run writes")
                    installation.restart("worker", **own)
                wait_until(grows(entries, CHUNKS // 10), 60, "the last run writes")
                for is_restart in (False, False, True):
                    way.refuse()
                    if is_restart:
                        assert entries[-1]["data"] != CHUNKS - 1, "the last run was over before the server restarted"
                        installation.restart("web")
                        server.kill()
                        server.start()
                    sleep(dice.uniform(0.2, 0.8))
                    way.accept()
                    wait_until(grows(entries, CHUNKS // 50), 60, "the stream continues")
                ended = client.wait(job_id, timeout=120)
        later = list(client.stream(job_id))

    *lost, last = runs(entries)
    print(f"{len(entries)} entries, runs of {[len(run) for run in (*lost, last)]} chunks")
    assert (ended["status"], ended["result"]) == ("finished", {"result": CHUNKS})
    assert last == [("json", number) for number in range(CHUNKS)]
    assert lost == [[("json", number) for number in range(len(run))] for run in lost]
    assert len(lost) == KILLS
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries == later


def test_a_result_waits_for_chunks_that_could_not_be_sent(own_server: OwnServer, tmp_path: Path) -> None:
    refusals = [ConnectionResetError() for _ in range(9)]

    def refuse(method: str, path: str) -> None:
        if path == "/_worker/events" and refusals:
            raise refusals.pop()

    environment = {"WORKER_TOKEN": "worker-token-of-the-storm"}
    with (
        Installation(own_server.url, tmp_path, blueprint="long_stream", **environment) as installation,
        HttpProxy(installation.base_url) as proxy,
    ):
        proxy.before = refuse
        installation.restart("worker", ORCHESTRATOR_URL=proxy.url)
        client = installation.client()
        entries = list(client.stream(client.send_task("count", {"to": 140})["job_id"]))

    assert refusals == []
    assert runs(entries) == [[("json", number) for number in range(140)]]
