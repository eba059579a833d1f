"""Clients on the address of the broker: no web process runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from subprocess import run
from threading import Thread
from typing import Any

import pytest
import redis

from avtomatika import AsyncClient, Client, Worker
from avtomatika.client import endpoints
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.file_reference import FileReference
from avtomatika.core.signing import GroupSecret
from avtomatika.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    SettingsError,
    UnauthorizedError,
    UnavailableError,
)
from avtomatika.loading import load_blueprints
from avtomatika.schemas import wire
from avtomatika.store import Store
from tests.support.http_proxy import HttpProxy, busy
from tests.support.object_storage import ObjectStorage
from tests.support.orchestrators import Stage
from tests.support.servers import OwnServer
from tests.support.waiting import wait_until

BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="hello", api_endpoint="jobs/hello")

@bp.handler(is_start=True, is_end=True)
def greet(initial_data):
    return {"greeting": "hello, " + initial_data["name"]}
"""
CLIENTS = """
[alice]
token = "token-of-alice-in-tests"
monthly_attempts = 2

[bob]
token = "token-of-bob-in-tests"
"""
CLOSED = "redis://:geheim@127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a blueprint, and an environment without settings of ours."""
    for name in ("AVTOMATIKA_URL", "CLIENT_TOKEN", "ORCHESTRATORS_CONFIG", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blueprints").mkdir()
    (tmp_path / "blueprints" / "hello.py").write_text(BLUEPRINT)
    return tmp_path


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def stage(redis_url: str, folder: Path) -> Iterator[Stage]:
    """An orchestrator that the test runs, and the queue of the skill ``add``, whose worker is the test."""
    path = list(sys.path)
    stage = Stage(redis_url, [*load_blueprints(str(folder / "blueprints")), SINGLE_TASKS])
    sys.path[:] = path
    stage.orchestrator()
    yield stage
    stage.close()


def test_tasks_are_sent_read_and_waited_for(client: Client, stage: Stage) -> None:
    one = client.send_task(
        "add", {"a": 1}, priority=3, labels={"of": "one"}, retries=5, time_limit=timedelta(seconds=9)
    )
    many = client.send_tasks("add", [{"a": n} for n in range(3)])
    shown = client.job(one["job_id"])
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(client.wait, one["job_id"])
        taken = stage.take_task("add")
        stage.answer(taken, data={"total": 1})
        stage.turn_until_status(one["job_id"], "finished")

    assert (shown["status"], shown["client"], shown["priority"]) == ("waiting_for_worker", "operator", 3)
    assert (taken[1].job_id, taken[1].result_timeout_seconds) == (one["job_id"], 9)
    assert waiting.result()["result"] == {"total": 1}
    assert client.job(one["job_id"], fields=["status", "result"]) == {"status": "finished", "result": {"total": 1}}
    assert {each["id"] for each in client.jobs()} == {one["job_id"], *many["job_ids"]}
    assert client.count_jobs()["total"] == 1 + len(many["job_ids"])


def test_streams_are_read_by_more_readers_than_there_are_threads(redis_url: str, stage: Stage) -> None:
    async def read(client: AsyncClient, job_id: str) -> list[Any]:
        return [entry["data"] async for entry in client.stream(job_id)]

    def write(job_id: str, *rows: tuple[object, ...]) -> None:
        stage.store.streams.append([wire.StreamChunks("w", [(job_id, f"{job_id}.1.0", 1, "", 1, rows)])])

    async def use() -> list[list[Any]]:
        async with AsyncClient(redis_url) as client:
            job_id = (await client.send_task("add", {"a": 1}))["job_id"]
            readers = [asyncio.create_task(read(client, job_id)) for _ in range(40)]
            first = client.stream(job_id)
            write(job_id, (1, "text", "a", None, 1))
            assert (await anext(first))["data"] == "a"
            stage.answer(await asyncio.to_thread(stage.take_task, "add"), data={"total": 1})
            await asyncio.to_thread(stage.turn_until_status, job_id, "finished")
            write(job_id, (2, "bytes", "AA==", None, 1), (3, "end", "", None, 1))
            return await asyncio.gather(*readers)

    assert asyncio.run(use()) == [["a", b"\x00"]] * 40


def test_jobs_of_blueprints_are_submitted_and_waited_for(client: Client, stage: Stage) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    later = client.submit("hello", {"name": "Ada"}, at=at)["job_id"]
    ids = client.submit_many("hello", [{"initial_data": {"name": name}} for name in ("Ada", "Bob")])["job_ids"]
    stage.turn_until_status(ids[1], "finished")

    assert client.wait(ids[1])["result"] == {"greeting": "hello, Bob"}
    assert client.why(later)["reasons"][-1]["code"] == "waits_for_start"
    assert client.cancel(later)["status"] in ("pending", "cancelled")
    assert [each["name"] for each in client.blueprints()] == ["hello"]


def test_the_same_for_asyncio(redis_url: str, stage: Stage) -> None:
    async def use() -> None:
        async with AsyncClient(redis_url) as client:
            job_id = (await client.send_task("add", {"a": 1}, delay=timedelta(milliseconds=1)))["job_id"]
            await client.send_tasks("add", [{}])
            waiting = [asyncio.create_task(client.wait(job_id, timeout=60)) for _ in range(40)]
            hello = await client.submit("hello", {"name": "Ada"})
            assert len([job async for job in client.jobs()]) == 3
            await asyncio.to_thread(stage.turn_until_status, hello["job_id"], "finished")
            assert (await client.wait(hello["job_id"]))["result"] == {"greeting": "hello, Ada"}
            await client.cancel(job_id)
            await asyncio.to_thread(stage.turn_until_status, job_id, "cancelled")
            assert {job["status"] for job in await asyncio.gather(*waiting)} == {"cancelled"}

    asyncio.run(use())


def test_streams_that_wait_do_not_delay_other_requests(redis_url: str, stage: Stage) -> None:
    async def follow(client: AsyncClient, job_id: str) -> list[str]:
        return [entry["kind"] async for entry in client.stream(job_id, kinds=["end"])]

    async def use() -> None:
        async with AsyncClient(redis_url) as client:
            job_id = (await client.send_task("add"))["job_id"]
            streams = [asyncio.create_task(follow(client, job_id)) for _ in range(40)]
            await asyncio.sleep(0.5)
            async with asyncio.timeout(15):
                await client.queues()
            await client.cancel(job_id)
            await asyncio.to_thread(stage.turn_until_status, job_id, "cancelled")
            assert await asyncio.gather(*streams) == [["end"]] * 40

    asyncio.run(use())


def test_a_wait_costs_few_requests_and_ends_with_its_time_limit(client: Client, redis_url: str) -> None:
    job_id = client.send_task("add")["job_id"]
    with redis.Redis.from_url(redis_url) as server, ThreadPoolExecutor(50) as threads:
        server.config_resetstat()
        found = list(threads.map(lambda _: client.wait(job_id, timeout=1), range(50)))
        calls = server.info("commandstats")["cmdstat_hget"]["calls"]

    assert {job["status"] for job in found} == {"waiting_for_worker"}
    assert calls < 50  # one thread asks for all of them


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda client: client.send_task("add", priority=10), InvalidRequestError, "priority"),
        (lambda client: client.send_task("_add"), InvalidRequestError, "no skill"),
        (lambda client: client.send_task("add", idempotency_key="a b"), InvalidRequestError, "Idempotency-Key"),
        (lambda client: client.send_tasks("add", []), InvalidRequestError, "tasks"),
        (lambda client: client.submit("helo"), NotFoundError, "did you mean 'hello'"),
        (lambda client: client.job("g0-none"), NotFoundError, "no job 'g0-none'"),
        (lambda client: client.job("g0-none", fields=["nothing"]), InvalidRequestError, "fields"),
        (lambda client: client.upload(__file__), Exception, "S3_BUCKET is not set"),
    ],
)
def test_errors_are_those_of_the_api(
    client: Client, ask: Callable[[Client], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ask(client)


def test_a_repeated_request_creates_one_task(client: Client) -> None:
    first, second = (client.send_task("add", {"a": 1}, idempotency_key="once") for _ in range(2))

    assert first == second
    with pytest.raises(ConflictError):
        client.send_task("add", {"a": 2}, idempotency_key="once")


def test_operators_manage_queues(client: Client) -> None:
    client.send_tasks("add", [{}, {}])

    assert {queue["name"]: queue["waiting"] for queue in client.queues()}["add"] == 2
    assert client.scaling("add", target_seconds=5, slots_per_worker=2)["waiting"] == 2
    assert [each["kind"] for each in client.messages("add")] == ["task", "task"]
    assert client.purge("add") == 2
    assert {"server", "SECRET_KEY"} <= {finding["subject"] for finding in client.doctor()}


def test_a_token_names_the_client(redis_url: str, folder: Path) -> None:
    (folder / "clients.toml").write_text(CLIENTS)
    (folder / "clients.toml").chmod(0o600)
    with Client(redis_url, "token-of-alice-in-tests") as alice, Client(redis_url, "token-of-bob-in-tests") as bob:
        job_id = alice.send_task("add")["job_id"]

        assert alice.job(job_id)["client"] == "alice"
        with pytest.raises(NotFoundError):
            bob.job(job_id)
        alice.send_task("add")
        with pytest.raises(QuotaExceededError):
            alice.send_task("add")
    with Client(redis_url, "token-of-nobody-in-tests") as client, pytest.raises(UnauthorizedError):
        client.send_task("add")


@pytest.mark.parametrize("own_server", [{"appendfsync": "always"}], indirect=True)
def test_failover_between_a_broker_and_http(own_server: OwnServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_RECOVERY_SECONDS", 0.0)
    monkeypatch.setenv("AVTOMATIKA_GROUP", "g1")
    with Client([own_server.url, url], "token-of-alice-in-tests") as client:
        first = client.send_task("add")["job_id"]
        own_server.kill()
        second = client.send_task("add")["job_id"]
        listed = [each["id"] for each in client.jobs()]
        own_server.start()
        third = client.send_task("add")["job_id"]

        assert [job_id.split("-")[0] for job_id in (first, second, third)] == ["g1", "g0", "g1"]
        assert listed == [second]
        assert [client.job(job_id)["id"] for job_id in (first, second)] == [first, second]


def test_a_client_remembers_which_server_has_each_shard(
    own_server: OwnServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVTOMATIKA_GROUP", "g1")
    monkeypatch.setenv("AVTOMATIKA_SHARDS", "2")
    with HttpProxy(url) as proxy, Client([proxy.url, own_server.url], "token-of-alice-in-tests") as client:
        asked = proxy.fail("GET", busy, 0)
        with Client(own_server.url, "token-of-alice-in-tests") as other:
            created = [other.send_task("add")["job_id"] for _ in range(20)]
        found = [client.job(job_id)["id"] for job_id in created * 2]

    assert {job_id.partition("-")[0] for job_id in created} == {"g1", "g1_1"}
    assert (found, asked.seen) == (created * 2, 2)


def test_an_unreachable_broker_is_named_without_its_password(own_server: OwnServer) -> None:
    wrong = own_server.url.replace("redis://", "redis://me:geheim@")
    for url in (CLOSED, wrong, "sentinel://:geheim@127.0.0.1:9/0?master_name=main"):
        with Client(url, timeout=5) as client:
            for ask in (lambda: client.send_task("add"), lambda: client.job("g0-1"), client.queues):
                with pytest.raises(UnavailableError) as raised:
                    ask()
                assert url.rpartition("@")[2].partition("?")[0] in str(raised.value)
                assert "geheim" not in str(raised.value) + repr(client)


@pytest.mark.parametrize("url", ["redis:", "sentinel://localhost", "amqp://localhost"])
def test_an_address_that_no_client_can_use_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        Client(url, "token")


def test_another_secret_than_that_of_the_orchestrators_is_refused(
    client: Client, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator = Store.connect(redis_url, secret=GroupSecret("theirs"))
    assert orchestrator.keyring.secret
    orchestrator.close()
    with pytest.raises(SettingsError, match="SECRET_KEY is not set"):
        client.send_task("add")
    monkeypatch.setenv("SECRET_KEY", "theirs")
    with Client(redis_url) as client:
        client.send_task("add")


def test_the_environment_may_name_a_broker_alone(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("JOB_MAX_RETRIES", "7")
    worker = Worker()

    @worker.skill
    def add(a: int) -> int:
        return a

    with Client.from_environment() as client:
        handle = add.using(client).send(a=1)
        assert (handle.status(), repr(client)) == ("waiting_for_worker", f"Client({redis_url!r})")
    store = Store.connect(redis_url)
    job = store.load(handle.id)
    store.close()
    assert job is not None
    assert job.max_retries == 7


def test_connections_are_bounded_and_closed(client: Client, redis_url: str) -> None:
    def connections() -> int:
        return len([each for each in server.client_list() if int(each["id"]) not in before])

    with redis.Redis.from_url(redis_url) as server, ThreadPoolExecutor(40) as threads:
        before = {int(each["id"]) for each in server.client_list()}
        ids = [each["job_id"] for each in threads.map(lambda _: client.send_task("add"), range(400))]
        open_ones = connections()
        client.close()
        wait_until(lambda: connections() == 0, 10, "the connections are closed")

    assert len(set(ids)) == 400
    assert 1 <= open_ones <= 6


def test_a_forked_process_has_connections_of_its_own(redis_url: str) -> None:
    program = f"""
import os
from avtomatika import Client
client = Client({redis_url!r})
job_id = client.send_task("add")["job_id"]
client.wait(job_id, timeout=0.1)
child = os.fork()
for _ in range(50):
    assert client.job(client.send_task("add")["job_id"], wait=0.01)["skill"] == "add"
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(client.jobs())))
os._exit(0) if not child else None
"""
    done = run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={**os.environ})

    assert done.stdout.split() == ["0", "101"], done.stderr


def test_blueprints_that_cannot_be_loaded_concern_their_jobs_only(client: Client, folder: Path) -> None:
    (folder / "blueprints" / "hello.py").write_text("import nothing_of_this_name\n")

    client.send_task("add")
    assert client.queues()
    with pytest.raises(Exception, match="nothing_of_this_name"):
        client.submit("hello")


def test_threads_may_share_a_client(client: Client, stage: Stage) -> None:
    results: list[Any] = []
    ids = client.send_tasks("add", [{"a": n} for n in range(20)])["job_ids"]
    threads = [Thread(target=lambda job_id=job_id: results.append(client.wait(job_id)["result"])) for job_id in ids]
    for thread in threads:
        thread.start()
    for _ in ids:
        taken = stage.take_task("add")
        stage.answer(taken, data={"total": taken[1].params["a"]})
    for job_id in ids:
        stage.turn_until_status(job_id, "finished")
    for thread in threads:
        thread.join()

    assert sorted(result["total"] for result in results) == list(range(20))


def test_large_results_are_read_from_s3(
    redis_url: str, stage: Stage, cloud: ObjectStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = cloud.make_bucket()
    keys = {"S3_ACCESS_KEY": "minioadmin", "S3_SECRET_KEY": "minioadmin"}
    for name, value in {"S3_ENDPOINT_URL": cloud.url, "S3_BUCKET": bucket, **keys}.items():
        monkeypatch.setenv(name, value)
    with Client(redis_url) as client:
        job_id, content = client.send_task("add")["job_id"], json.dumps(list(range(1000))).encode()
        uri = cloud.put(bucket, f"{job_id}/{job_id}.1.0/1-0123abcd/rows.json", content)
        reference = FileReference(uri, sha256(content).hexdigest(), len(content)).as_json()
        stage.answer(stage.take_task("add"), data={"rows": reference})
        stage.turn_until_status(job_id, "finished")

        assert client.wait(job_id)["result"] == {"rows": list(range(1000))}
        (tmp_path / "a.txt").write_text("a")
        assert client.upload(tmp_path / "a.txt").startswith(f"s3://{bucket}/")
