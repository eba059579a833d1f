"""A worker of an installation with four shards on one server: it takes the tasks of all, and answers in each."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from avtomatika import Worker
from avtomatika.broker import Delivery
from avtomatika.client import Client
from avtomatika.core.events import Result
from avtomatika.core.plan import WORKERS
from avtomatika.core.shards import prefix_of, shard_prefixes
from avtomatika.schemas import wire
from avtomatika.store import Store
from avtomatika.worker.links import shards
from avtomatika.worker.links.broker_link import BrokerLink

from ...support.processes import Process
from ...support.scripted_orchestrator import DEADLINE_SECONDS, Office, bp
from ...support.servers import OwnServer
from ...support.tcp_proxy import TcpProxy
from ...support.waiting import wait_until
from ...support.web import TOKEN, WebServer
from ...support.workers import WORKER_TOKEN, wait_until_begun

SHARDS = 4
RunLink = Callable[..., BrokerLink]


@pytest.fixture(autouse=True)
def several_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes and clients of the tests have several shards."""
    monkeypatch.setenv("TEST_SHARDS", str(SHARDS))
    monkeypatch.setenv("AVTOMATIKA_SHARDS", str(SHARDS))


@pytest.fixture
def office(redis_url: str, make_office: Callable[..., Office]) -> Office:
    return make_office(redis_url, shards=SHARDS)


def make_worker(gate: threading.Event | None = None) -> Worker:
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any], progress: Any, stream: Any, cancelled: Any) -> dict[str, Any]:
        progress(0.5, "half")
        stream.write("text")
        while gate is not None and not gate.wait(0.01) and not cancelled():
            pass
        return {"was cancelled": cancelled()}

    return worker


def jobs_of(delivery: Delivery) -> set[str]:
    """Return the jobs that a message of a worker is about."""
    if delivery.queue != WORKERS:
        return {wire.load_event(delivery.body).job_id}
    match notice := wire.load_notice(delivery.body):
        case wire.TasksStarted():
            return {each.job_id for each in notice.taken}
        case wire.StreamChunks():
            return {run.job_id for run in notice.runs}
        case wire.TaskStarted() | wire.Progress():
            return {notice.job_id}
    raise AssertionError(f"{notice} is about no job")


def result_of(delivery: Delivery) -> Result:
    event = wire.load_event(delivery.body)
    assert isinstance(event, Result)
    return event


def held(redis_url: str) -> int:
    """Return the number of tasks that workers hold."""
    with redis.Redis.from_url(redis_url) as client:
        streams = [stream for prefix in shard_prefixes("g0", SHARDS) for stream in client.keys(f"{prefix}q:work:0")]
        return sum(client.xpending(stream, "avt")["pending"] for stream in streams if client.xinfo_groups(stream))


def test_what_a_worker_sends_about_a_job_goes_to_its_shard(office: Office, run_link: RunLink) -> None:
    for shard in range(SHARDS):
        office.give_in(shard, {"n": shard}, {"n": 10 + shard})
    run_link(make_worker(), shards=SHARDS, concurrency=8)

    sent = office.take(bp.plan.main_queue, 2 * SHARDS)
    ended = set[str]()
    while len(ended) < 2 * SHARDS:  # the stream of each run has ended
        [delivery] = office.take(WORKERS, 1)
        sent.append(delivery)
        if isinstance(notice := wire.load_notice(delivery.body), wire.StreamChunks):
            ended |= {run.task_id for run in notice.runs if run.chunks[-1][1] == "end"}

    assert len({job for each in sent for job in jobs_of(each)}) == SHARDS
    for each in sent:
        [job_id] = jobs_of(each)
        assert each.tag.startswith(prefix_of(job_id, office.prefixes))


def test_a_worker_holds_no_more_tasks_of_several_shards_than_of_one(
    office: Office, run_link: RunLink, redis_url: str
) -> None:
    gate = threading.Event()
    for shard in range(SHARDS):
        office.give_in(shard, {}, {}, {})
    run_link(make_worker(gate), shards=SHARDS, concurrency=2)
    most = []

    wait_until(lambda: held(redis_url) >= 2, DEADLINE_SECONDS, "two tasks run")
    for _ in range(20):
        threading.Event().wait(0.05)
        most.append(held(redis_url))
    gate.set()
    office.take(bp.plan.main_queue, 3 * SHARDS)

    assert max(most) == 2


def test_a_task_of_any_shard_is_cancelled(office: Office, run_link: RunLink) -> None:
    run_link(make_worker(threading.Event()), shards=SHARDS)
    office.wait_for_listeners(1)
    office.give_in(3, {})
    office.notices(1)

    office.tell_workers(wire.Cancel("g0_3-1.30"))

    assert office.results(1)[0].data == {"was cancelled": True}


def test_a_task_in_its_own_queue_of_any_shard_is_for_the_worker(office: Office, run_link: RunLink) -> None:
    run_link(make_worker(), shards=SHARDS)

    for shard in range(SHARDS):
        office.give_in(shard, {}, queue="@worker-1")

    assert len(office.take(bp.plan.main_queue, SHARDS)) == SHARDS


@pytest.mark.parametrize("is_recorded_before", [True, False])
def test_a_worker_follows_the_recorded_number_of_shards(
    office: Office,
    run_link: RunLink,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_recorded_before: bool,
) -> None:
    monkeypatch.setattr(shards, "_READ_SECONDS", 0.05)
    gate = threading.Event()
    record = {"1": 1_700_000_000_000, str(SHARDS): 1_800_000_000_000}
    office.give_in(0, {})
    with redis.Redis.from_url(redis_url) as client, caplog.at_level("INFO"):
        if is_recorded_before:
            client.hset("{avt.g0}:shards", mapping=record)
        run_link(make_worker(gate), concurrency=2)
        office.notices(1)
        client.hset("{avt.g0}:shards", mapping=record)
        office.give_in(3, {}, {}, {})
        gate.set()

        office.results(4)

    assert caplog.messages.count("taking tasks from the 4 shards of the installation") == 1


@pytest.mark.parametrize("number", [1, SHARDS])
def test_a_worker_needs_as_many_connections_for_several_shards_as_for_one(
    office: Office, run_link: RunLink, redis_url: str, number: int
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = len(client.client_list())
        run_link(make_worker(), shards=number)
        for shard in range(number):
            office.give_in(shard, {}, {})
        office.results(2 * number)
        office.wait_for_listeners(1)
        opened = len(client.client_list()) - before

    assert opened <= 8  # of the worker and of the test


@pytest.mark.faults
def test_a_result_reaches_the_shard_of_its_job_after_the_broker_and_the_worker_have_died(
    own_server: OwnServer, make_office: Callable[..., Office], make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    gate, spool = tmp_path / "gate", tmp_path / "spool"
    environ = {"ORCHESTRATOR_URL": own_server.url, "WORKER_SPOOL_DIR": str(spool), "WORKER_LEASE_SECONDS": "1"}
    first = make_worker(**environ, WORKER_ID="one")
    make_office(own_server.url, lease_seconds=1, shards=SHARDS).give_in(3, {"gate": str(gate), "by": "the first"})
    wait_until_begun(gate)

    own_server.stop()
    gate.touch()
    wait_until(lambda: list(spool.rglob("*.json")))  # not one that is being written
    first.kill()
    own_server.start()
    with redis.Redis.from_url(own_server.url) as client:
        client.hset("{avt.g0}:shards", str(SHARDS), 1_800_000_000_000)
    make_worker(**environ, WORKER_ID="two", AVTOMATIKA_SHARDS="1")

    office = make_office(own_server.url, lease_seconds=1, shards=SHARDS)
    [delivery] = office.take(bp.plan.main_queue, 1)
    wait_until(lambda: not list(spool.rglob("*.json")))
    wait_until(lambda: held(own_server.url) == 0)
    assert delivery.tag.startswith(office.prefixes[3])
    assert result_of(delivery).worker_id == "one"
    office.nothing_comes(bp.plan.main_queue, seconds=1)


@pytest.mark.faults
def test_a_task_of_any_shard_continues_over_http_while_its_broker_is_unreachable(
    office: Office,
    redis_url: str,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN=WORKER_TOKEN)
    web.kill()  # the worker takes the task from the broker
    gate, url = tmp_path / "gate", urlsplit(redis_url)
    with TcpProxy(url.port or 0) as proxy:
        addresses = [{"url": f"redis://127.0.0.1:{proxy.port}{url.path}"}, {"url": f"http://{web.address}"}]
        environ = {"ORCHESTRATORS_CONFIG": json.dumps(addresses), "WORKER_TOKEN": WORKER_TOKEN}
        worker = make_worker(**environ, WORKER_DRAIN_TIMEOUT="1")
        with closing(Store.connect(redis_url)) as store:
            office.give_in(3, {"gate": str(gate)}, secret=store.keyring.secret)
        wait_until_begun(gate)
        web.start()
        worker.wait_for_log(f"registered with http://{web.address}", within_seconds=60)

        proxy.refuse()
        worker.wait_for_log("1 of 1 tasks from the broker are now kept over HTTP", within_seconds=60)
        gate.touch()

        [delivery] = office.take(bp.plan.main_queue, 1)
    assert delivery.tag.startswith(office.prefixes[3])
    assert held(redis_url) == 0


@pytest.mark.parametrize("address", ["redis", "http"], indirect=True)
@pytest.mark.usefixtures("orchestrator")
def test_a_worker_without_the_setting_does_the_tasks_of_jobs_of_all_shards(
    address: str, redis_url: str, make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    make_worker(ORCHESTRATOR_URL=address, WORKER_TOKEN=WORKER_TOKEN, WORKER_ID="w-1", AVTOMATIKA_SHARDS="1")
    with Client(redis_url, TOKEN) as api:
        created = [api.send_task("work", {"by": number, "tell": 0.5})["job_id"] for number in range(24)]
        results = [api.wait(job_id, timeout=60)["result"] for job_id in created]
        running = [api.send_task("work", {"gate": f"{gate}-{number}"})["job_id"] for number in range(2)]
        for number, job_id in enumerate(running):
            wait_until_begun(tmp_path / f"gate-{number}")
            api.cancel(job_id)
        wait_until(lambda: not api.worker("w-1")["tasks"], 60, "its tasks are cancelled")

    assert {job_id.partition("-")[0] for job_id in created} == {"g0", "g0_1", "g0_2", "g0_3"}
    assert [result["by"] for result in results] == list(range(24))
