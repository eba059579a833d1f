"""The asynchronous client against the app behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from inspect import signature
from pathlib import Path

import pytest

from avtomatika import AsyncClient, Client
from avtomatika.client import creation, job_lists, operations, operator_operations, streams
from avtomatika.core.blueprint.action_types import End, GoTo
from avtomatika.core.job import Job
from avtomatika.errors import InvalidRequestError, NotFoundError, UnavailableError
from avtomatika.store import Store

Move = Callable[..., Job]
TOKEN = "token-of-alice-in-tests"
TO_THE_END = (GoTo("encode"), GoTo("publish"), End({"url": "/out"}))


def test_jobs_are_submitted_listed_and_shown(url: str) -> None:
    async def use() -> None:
        async with AsyncClient(url, TOKEN) as client:
            submitted = await asyncio.gather(*(client.submit("video", {"n": n}, priority=n) for n in range(5)))
            listed = [job async for job in client.jobs(page_size=2)]
            job = await client.job(submitted[3]["job_id"])
            counted = await client.count_jobs(status="pending")
            parts = [part async for part in client.act_on_jobs("cancel", filter={}, dry_run=True)]

        assert (counted["total"], [part["matched"] for part in parts]) == (5, [5])
        assert {job["id"] for job in listed} == {job["job_id"] for job in submitted}
        assert (job["priority"], job["initial_data"]) == (3, {"n": 3})

    asyncio.run(use())


def test_wait_returns_when_the_job_ends(url: str, move: Move) -> None:
    async def use() -> None:
        async with AsyncClient(url, TOKEN) as client:
            submitted = await client.submit("video")
            waiting = asyncio.create_task(client.wait(submitted["job_id"], timeout=timedelta(seconds=20)))
            await asyncio.to_thread(move, *TO_THE_END)
            assert (await waiting)["result"] == {"url": "/out"}

    asyncio.run(use())


def test_a_wait_can_be_cancelled(url: str) -> None:
    async def use() -> None:
        async with AsyncClient(url, TOKEN) as client:
            submitted = await client.submit("video")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.wait(submitted["job_id"]), 0.2)

    asyncio.run(use())


def test_errors_are_those_of_the_blocking_client(url: str, tmp_path: Path) -> None:
    async def use() -> None:
        async with AsyncClient(url, TOKEN) as client:
            with pytest.raises(NotFoundError, match="did you mean 'video'"):
                await client.blueprint("vidoe")
            with pytest.raises(InvalidRequestError, match="cannot be read: No such file"):
                await client.upload(tmp_path / "missing")
        async with AsyncClient("http://127.0.0.1:9", TOKEN) as client:
            with pytest.raises(UnavailableError, match="cannot be reached"):
                await client.blueprints()

    asyncio.run(use())


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_both_clients_have_every_operation(client: type) -> None:
    defined = {
        name: value
        for module in (creation, job_lists, operations, operator_operations, streams)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and not isinstance(value, type)
        and name != "job_path"
        and not name.startswith("_")
    }

    assert len(defined) == 62
    for name, operation in defined.items():
        method = getattr(client, name)
        assert list(signature(method).parameters) == ["self", *signature(operation).parameters]
        assert method.__doc__ == operation.__doc__


def test_an_operator_lists_the_workers(url: str, store: Store) -> None:
    store.registry.register("w-1", {"type": "video", "skills": []})

    async def use() -> None:
        async with AsyncClient(url, "operators-own-token") as operator:
            assert [worker["id"] for worker in await operator.workers()] == ["w-1"]

    asyncio.run(use())
