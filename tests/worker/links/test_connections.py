"""Worker, web and broker processes: several addresses, tokens, and faults."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import closing
from io import StringIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis
import requests
from dotenv import dotenv_values

from avtomatika.core.job import Job, Task
from avtomatika.store import Store

from ...support.processes import Process
from ...support.scripted_orchestrator import Office
from ...support.waiting import wait_until
from ...support.web import WebServer
from ...support.workers import wait_until_begun

REPOSITORY = Path(__file__).parents[3]
#: The blocks of the documentation.
FAILOVER = """
# Worker will poll 'main-orchestrator'. If it fails,
# SDK automatically switches to 'backup-orchestrator'.
ORCHESTRATORS_CONFIG='[
    {"url": "http://main-orchestrator:8080"},
    {"url": "http://backup-orchestrator:8080"}
]'

MULTI_ORCHESTRATOR_MODE=FAILOVER
"""
ROUND_ROBIN = """
ORCHESTRATORS_CONFIG='[
    {"url": "http://orchestrator-1:8080"},
    {"url": "http://orchestrator-2:8080"}
]'

MULTI_ORCHESTRATOR_MODE=ROUND_ROBIN
"""
WEB_ENV = """
# In Orchestrator .env file
WORKERS_CONFIG_PATH="workers.toml"
"""
WORKER_ENV = """
# In Worker .env file
WORKER_ID="worker-video-1"
AVTOMATIKA_WORKER_TOKEN="unique-secret-token-for-video-1"
"""


def variables(block: str, **hosts: str) -> dict[str, str]:
    """Return a dotenv block as an environment; *hosts* (with ``_`` for ``-``) replace ``<host>:8080``."""
    for name, address in hosts.items():
        block = block.replace(f"{name.replace('_', '-')}:8080", address)
    return {name: value for name, value in dotenv_values(stream=StringIO(block)).items() if value is not None}


@pytest.mark.faults
def test_failover_switches_to_the_backup_and_back(
    redis_url: str, office: Office, make_web: Callable[..., WebServer], make_worker: Callable[..., Process]
) -> None:
    main, backup = (
        make_web(redis_url, WORKER_TOKEN="the-workers-token"),
        make_web(redis_url, WORKER_TOKEN="the-workers-token"),
    )
    environ = variables(FAILOVER, main_orchestrator=main.address, backup_orchestrator=backup.address)
    worker = make_worker(**environ, WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1")
    office.give({"by": "main"})
    [first] = office.results(1)

    main.kill()
    begun = monotonic()
    office.give({"by": "backup"})
    [second] = office.results(1)
    took = monotonic() - begun
    main.start()
    worker.wait_for_log(f"now taking tasks from http://{main.address}", within_seconds=25)
    backup.kill()
    office.give({"by": "main again"})
    [third] = office.results(1)

    assert [result.data["by"] for result in (first, second, third)] == ["main", "backup", "main again"]
    assert {result.worker_id for result in (first, second, third)} == {"worker-1"}
    assert took < 2.5
    assert worker.log.count(f"now taking tasks from http://{backup.address}") == 1


def test_round_robin_takes_from_both_by_weight(
    make_server: Callable[..., Any],
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    urls = [make_server().url for _ in range(2)]
    offices = [make_office(url) for url in urls]
    webs = [make_web(url, WORKER_TOKEN="the-workers-token") for url in urls]
    environ = variables(ROUND_ROBIN, orchestrator_1=webs[0].address, orchestrator_2=webs[1].address)
    addresses = json.loads(environ["ORCHESTRATORS_CONFIG"])
    addresses[0]["weight"] = 3
    environ["ORCHESTRATORS_CONFIG"] = json.dumps(addresses)
    worker = make_worker(**environ, WORKER_TOKEN="the-workers-token", WORKER_CONCURRENCY="1")
    for web in webs:
        worker.wait_for_log(f"registered with http://{web.address}")
    gate = tmp_path / "gate"
    offices[0].give({"gate": str(gate)}, *[{"n": number} for number in range(60)])
    wait_until_begun(gate)
    offices[1].give(*[{"n": number} for number in range(60)])

    gate.touch()

    offices[0].results(61)
    left = offices[1].depth("work")
    offices[1].results(60)
    assert 30 <= left <= 50


def test_http_and_redis_mix_in_one_list(
    make_server: Callable[..., Any],
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
) -> None:
    urls = [make_server().url for _ in range(2)]
    offices = [make_office(url) for url in urls]
    web = make_web(urls[0], WORKER_TOKEN="the-workers-token")
    addresses = json.dumps([{"url": f"http://{web.address}"}, {"url": urls[1]}])

    make_worker(ORCHESTRATORS_CONFIG=addresses, MULTI_ORCHESTRATOR_MODE="round_robin", WORKER_TOKEN="the-workers-token")

    for office in offices:
        office.give({"by": "a"}, {"by": "b"})
    assert [[result.data["by"] for result in office.results(2)] for office in offices] == [["a", "b"], ["a", "b"]]


def test_a_task_that_is_no_longer_needed_is_stopped_over_http(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token", WORKER_LEASE_SECONDS="4")
    make_worker(ORCHESTRATOR_URL=f"http://{web.address}", WORKER_TOKEN="the-workers-token")
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:job:g0-1", "v", 1)
        client.hset("{avt.g0}:job:g0-1:tasks", mapping={"g0-1.0.0": 1, "g0-1.1.0": 1})
        office.give({"gate": str(tmp_path / "never")}, {"gate": str(tmp_path / "gate")})
        for gate in ("never", "gate"):
            wait_until_begun(tmp_path / gate)

        client.hdel("{avt.g0}:job:g0-1:tasks", "g0-1.0.0")
        [stopped] = office.results(1)
        (tmp_path / "gate").touch()
        [other] = office.results(1)

    assert (stopped.task_id, stopped.data) == ("g0-1.0.0", {"result": "cancelled"})
    assert (other.task_id, other.data) == ("g0-1.1.0", {"by": None})


def test_progress_is_sent_over_http_while_the_task_runs(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    gate = tmp_path / "gate"
    make_worker(ORCHESTRATOR_URL=f"http://{web.address}", WORKER_TOKEN="the-workers-token")

    with redis.Redis.from_url(redis_url) as client, closing(Store.connect(redis_url)) as store:
        client.hset("{avt.g0}:job:g0-1:tasks", "g0-1.0.0", 1)
        office.give({"tell": 0.4, "gate": str(gate)})
        wait_until_begun(gate)
        task = Task("g0-1.0.0", "any", "any", {})
        job = Job("g0-1", "any", "00000000", tasks={task.id: task})
        hand = wait_until(lambda: store.live_state(job).in_flight.get(task.id))
        gate.touch()

    assert (hand.progress, hand.message) == (0.4, "as told")
    assert office.results(1)[0].status == "success"


def test_a_worker_authenticates_with_its_own_token_only(
    redis_url: str, office: Office, make_web: Callable[..., WebServer], make_worker: Callable[..., Process]
) -> None:
    web = make_web(redis_url, **variables(WEB_ENV), WORKER_TOKEN="planted-shared-token")
    url = {"ORCHESTRATOR_URL": f"http://{web.address}"}
    own = variables(WORKER_ENV)
    wrong = [
        make_worker(**url | own | {"AVTOMATIKA_WORKER_TOKEN": token})
        for token in ("planted-wrong-token", "another-secret-for-audio-5", "planted-shared-token")
    ]
    for each in wrong:
        each.wait_for_log("rejected this worker")

    right = make_worker(**url | own)
    office.give({"by": "right"})

    [result] = office.results(1)
    assert result.worker_id == "worker-video-1"
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    everything = "\n".join([web.log, right.log, *(each.log for each in wrong), _dump(redis_url)])
    everything += b"\n".join(command_lines).decode(errors="replace")
    for planted in ("planted-", "unique-secret-token", "another-secret"):
        assert planted not in everything


@pytest.mark.faults
def test_a_worker_that_is_revoked_while_it_works_is_shut_out_and_another_does_its_task(
    redis_url: str,
    make_office: Callable[..., Office],
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    office = make_office(redis_url, lease_seconds=2)
    web = make_web(redis_url, **variables(WEB_ENV), WORKER_LEASE_SECONDS="2")
    url = {"ORCHESTRATOR_URL": f"http://{web.address}"}
    revoked = make_worker(**url | variables(WORKER_ENV))
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "whoever"})
    wait_until_begun(gate)

    fresh = web.folder / "fresh.toml"
    fresh.write_text('[worker-audio-5]\ntoken = "another-secret-for-audio-5"\n')
    fresh.chmod(0o600)
    os.replace(fresh, web.folder / "workers.toml")
    assert revoked.wait_for_log("rejected this worker") < 3
    gate.touch()
    web.process.wait_for_log("worker 'worker-video-1' rejected")
    make_worker(**url, WORKER_ID="worker-audio-5", AVTOMATIKA_WORKER_TOKEN="another-secret-for-audio-5")

    [result] = office.results(1)
    assert result.worker_id == "worker-audio-5"


def test_a_result_waits_for_its_origin_to_come_back(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    worker = make_worker(
        ORCHESTRATOR_URL=f"http://{web.address}", WORKER_TOKEN="the-workers-token", WORKER_ID="worker-1"
    )
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "patience"})
    wait_until_begun(gate)

    web.kill()
    gate.touch()
    worker.wait_for_log("unsent results wait")
    web.start()

    [result] = office.results(1)
    assert (result.worker_id, result.data) == ("worker-1", {"by": "patience"})


def test_with_several_brokers_the_next_takes_over(
    make_server: Callable[..., Any], make_office: Callable[..., Office], make_worker: Callable[..., Process]
) -> None:
    first, second = make_server(), make_server()
    offices = [make_office(server.url) for server in (first, second)]
    worker = make_worker(ORCHESTRATORS_CONFIG=json.dumps([{"url": first.url}, {"url": second.url}]))
    offices[0].give({"by": "first"})
    offices[0].results(1)

    first.kill()
    worker.wait_for_log(f"now taking tasks from {second.url}")
    offices[1].give({"by": "second"})

    [result] = offices[1].results(1)
    assert result.data == {"by": "second"}
    first.start()


def test_a_worker_with_unsent_results_continues_with_the_next_broker(
    make_server: Callable[..., Any],
    make_office: Callable[..., Office],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    first, second = make_server(), make_server()
    offices = [make_office(server.url) for server in (first, second)]
    worker = make_worker(
        ORCHESTRATORS_CONFIG=json.dumps([{"url": first.url}, {"url": second.url}]), WORKER_CONCURRENCY="1"
    )
    gate = tmp_path / "gate"
    offices[0].give({"gate": str(gate)})
    wait_until_begun(gate)

    first.kill()
    gate.touch()  # its result now takes the slot that a next task would need

    worker.wait_for_log(f"now taking tasks from {second.url}")
    offices[1].give({"by": "second"})
    assert offices[1].results(1)[0].data == {"by": "second"}
    first.start()
    assert make_office(first.url).results(1)[0].data == {"by": None}


def test_a_stopping_worker_requeues_its_task_immediately(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    url = {"ORCHESTRATOR_URL": f"http://{web.address}", "WORKER_TOKEN": "the-workers-token"}
    worker = make_worker(**url, WORKER_DRAIN_TIMEOUT="0.2")
    office.give({"gate": str(tmp_path / "never")})
    office.notices(1)

    worker.process.terminate()

    assert worker.process.wait(15) == 0
    assert [delivery.deliveries for delivery in office.take("work", 1)] == [1]


@pytest.mark.faults
def test_two_hundred_waiting_workers_leave_the_api_quick(redis_url: str, make_web: Callable[..., WebServer]) -> None:
    web = make_web(redis_url, WORKER_TOKEN="the-workers-token")
    codes: list[int] = []

    def poll(number: int) -> None:
        headers = {"X-Worker-ID": f"w{number}", "X-Worker-Token": "the-workers-token"}
        path = f"http://{web.address}/_worker/workers/w{number}/tasks/next?timeout=6&available_skills=work"
        codes.append(requests.get(path, headers=headers, timeout=20).status_code)

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    took = []
    for _ in range(20):
        begun = monotonic()
        answer = requests.get(
            f"http://{web.address}/api/v1/blueprints", headers={"X-Client-Token": "planted-client-token"}, timeout=5
        )
        took.append(monotonic() - begun)
        assert answer.status_code == 200
        sleep(0.05)
    for thread in threads:
        thread.join()

    assert codes == [204] * 200
    assert sorted(took)[10] < 0.25


def _dump(redis_url: str) -> str:
    """Return all data on the server."""
    with redis.Redis.from_url(redis_url) as client:
        return "\n".join(str(client.dump(key)) for key in client.keys("*"))
