"""Clients of several servers: failover, round robin and idempotent creations."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from avtomatika import AsyncClient, Client
from avtomatika.client import Address
from avtomatika.errors import NotFoundError, SettingsError, UnavailableError
from tests.support.http_proxy import HttpProxy, busy, reset

TOKEN = "token-of-alice-in-tests"
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def proxies(url: str) -> Iterator[list[HttpProxy]]:
    """Two servers of one store."""
    with ExitStack() as stack:
        yield [stack.enter_context(HttpProxy(url)) for _ in range(2)]


def test_a_creation_whose_answer_is_lost_is_repeated_at_the_next_server_and_creates_one_job(
    proxies: list[HttpProxy],
) -> None:
    first, second = proxies
    fault = first.fail("POST", reset)
    with Client([first.url, second.url], TOKEN) as client:
        job_id = client.submit("video", {"n": 1})["job_id"]

        assert fault.seen == 1
        assert [job["id"] for job in client.jobs()] == [job_id]
        assert client.job(job_id)["initial_data"] == {"n": 1}


def test_a_server_that_answers_503_is_left_for_the_next_one(proxies: list[HttpProxy]) -> None:
    first, second = proxies
    first.fail("GET", busy, 99)
    with Client([first.url, second.url], TOKEN) as client:
        assert [each["name"] for each in client.blueprints()] != []


def test_an_async_client_continues_with_the_next_server(url: str) -> None:
    async def use() -> None:
        async with AsyncClient([CLOSED, url], TOKEN) as client:
            job_id = (await client.submit("video"))["job_id"]
            assert (await client.job(job_id))["id"] == job_id

    asyncio.run(use())


def test_jobs_are_created_on_all_servers_by_weight(proxies: list[HttpProxy]) -> None:
    servers = [Address(proxies[0].url, 3), Address(proxies[1].url, 1)]
    creations = [proxy.fail("POST", busy, 0) for proxy in proxies]
    with Client(servers, TOKEN, mode="ROUND_ROBIN") as client:
        assert len({client.submit("video")["job_id"] for _ in range(8)}) == 8

    assert [fault.seen for fault in creations] == [6, 2]


def test_an_unknown_job_is_reported_as_missing_only_if_all_servers_answer(url: str) -> None:
    with Client([url, url], TOKEN) as client, pytest.raises(NotFoundError):
        client.job("g0-none")
    with Client([url, CLOSED], TOKEN) as client, pytest.raises(UnavailableError):
        client.job("g0-none")


def test_servers_and_tokens_are_read_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"url": url, "token": TOKEN, "priority": 20}, {"url": CLOSED, "priority": 1}]
    monkeypatch.setenv("ORCHESTRATORS_CONFIG", json.dumps(listed))
    monkeypatch.delenv("CLIENT_TOKEN", raising=False)
    with pytest.raises(SettingsError, match=f"{CLOSED} requires a token"):
        Client.from_environment()

    with Client.from_environment("another-token") as client:
        assert repr(client) == f"Client('{CLOSED}', '{url}')"
        assert client.job(client.submit("video")["job_id"])["client"] == "alice"


def test_a_folder_whose_clients_are_in_a_file_needs_a_token(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ORCHESTRATORS_CONFIG", "AVTOMATIKA_URL", "CLIENT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("var").mkdir()
    Path("var", "up.json").write_text(json.dumps({"pid": os.getpid(), "url": url}))

    with pytest.raises(SettingsError, match="requires a token: set CLIENT_TOKEN"):
        Client.from_environment()
    with Client.from_environment(TOKEN) as client:
        assert client.submit("video")["status"] == "accepted"
