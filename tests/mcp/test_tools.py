"""The tools: what is listed, and what calls do. Most are called over HTTP, as one process serves all tests."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult

from avtomatika.client import Client as Api

from ..support.cli import Up
from ..support.waiting import wait_until
from .conftest import ALICE, OPERATOR, Agent, run

READING = {"job", "jobs", "why", "history"}
CREATING = {"order", "blueprint_why", "pack", "sleep", "fail"}


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert content.type == "text"
    return content.text


def test_a_server_without_allow_write_only_reads(local_agent: Agent) -> None:
    async def use() -> None:
        async with local_agent() as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            refused = await client.call_tool("order", {"item": "lamp"})
            instructions = client.instructions

        assert set(tools) == READING
        assert all(tool.annotations.read_only_hint for tool in tools.values())
        assert "--allow-write" in tools["jobs"].description
        assert "--allow-write" in instructions
        assert refused.is_error
        assert refused.structured_content["code"] == "forbidden"
        assert "--allow-write" in text_of(refused)

    run(use)


def test_blueprints_and_skills_are_tools_with_schemas_and_docstrings(agent: Agent) -> None:
    async def use() -> None:
        async with agent() as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}

        assert set(tools) >= READING | CREATING | {"cancel", "approve", "signal"}
        assert {"untyped", "no_types", "_tasks"}.isdisjoint(tools)
        order, pack = tools["order"], tools["pack"]
        assert order.description.startswith("Order an item. A person decides about more than ten.")
        assert order.input_schema["properties"]["item"] == {"type": "string"}
        assert order.input_schema["required"] == ["item"]
        assert {"wait_seconds", "cancel_with_call", "idempotency_key"} < set(order.input_schema["properties"])
        assert pack.description.startswith("Pack a parcel.")
        assert pack.input_schema["properties"]["count"] == {"type": "integer"}
        assert not order.annotations.read_only_hint

    run(use)


def test_a_client_that_is_no_operator_has_its_blueprints(local_agent: Agent) -> None:
    async def use() -> None:
        async with local_agent("--allow-write", token=ALICE) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            done = await client.call_tool("order", {"item": "lamp"})
            refused = await client.call_tool("approve", {"job_id": "g0-1", "decision": "approved"})

        assert names == READING | {"order", "blueprint_why", "cancel"}
        assert done.structured_content["result"] == {"item": "lamp"}
        assert text_of(refused).startswith('{"code": "not_found", "message": "no tool \'approve\'')

    run(use)


def test_a_call_reports_the_steps_of_its_job_and_returns_the_result(agent: Agent) -> None:
    reports: list[tuple[float, str]] = []

    async def report(number: float, total: float | None, message: str | None) -> None:
        reports.append((number, message or ""))

    async def use() -> None:
        async with agent() as client:
            done = await client.call_tool("order", {"item": "lamp", "count": 2}, progress_callback=report)

        assert not done.is_error
        answer = done.structured_content
        assert (answer["status"], answer["result"]) == ("finished", {"item": "lamp"})
        texts = [text for _, text in reports]
        assert texts[0] == f"job {answer['job_id']} was created"
        assert {"task_dispatched check", "task_succeeded check", "job_finished done"} <= set(texts)
        numbers = [number for number, _ in reports]
        assert numbers == sorted(set(numbers))

    run(use)


def test_the_progress_of_a_task_is_reported(agent: Agent) -> None:
    async def use() -> None:
        reported = asyncio.Event()

        async def report(number: float, total: float | None, message: str | None) -> None:
            if message == "50% half of it":
                reported.set()

        async with agent() as client, asyncio.TaskGroup() as group:
            call = client.call_tool("pack", {"count": 9, "wait_seconds": 600}, progress_callback=report)
            running = group.create_task(call)
            await reported.wait()
            running.cancel()

    run(use)


def test_a_job_that_fails_is_an_error_with_its_reason(agent: Agent) -> None:
    async def use() -> None:
        async with agent() as client:
            failed = await client.call_tool("fail", {"text": "the shelf is empty"})
            invalid = await client.call_tool("order", {"item": "lamp", "count": "two"})
            unknown = await client.call_tool("why", {"job_id": "g0-nothing"})
            misspelt = await client.call_tool("jobs", {"stauts": "failed"})

        assert failed.is_error
        assert failed.structured_content["status"] == "failed"
        assert failed.structured_content["error"]["message"] == "the shelf is empty"
        assert invalid.is_error
        assert invalid.structured_content["code"] == "invalid_request"
        assert "initial_data.count: is 'two', but must be a whole number" in text_of(invalid)
        assert unknown.structured_content["code"] == "not_found"
        assert "arguments.stauts: unknown field; did you mean 'status'?" in text_of(misspelt)

    run(use)


def test_a_long_job_is_answered_with_its_id_and_found_again(agent: Agent) -> None:
    async def use() -> None:
        async with agent() as client:
            started = await client.call_tool("sleep", {"seconds": 1.5, "wait_seconds": 0})
            job_id = started.structured_content["job_id"]
            ended = await client.call_tool("job", {"job_id": job_id, "wait_seconds": 60})

        assert started.structured_content["status"] in ("pending", "running", "waiting_for_worker")
        assert "call the tool job" in started.structured_content["note"]
        assert not started.is_error
        assert (ended.structured_content["status"], ended.structured_content["result"]) == ("finished", {"slept": 1.5})

    run(use)


def test_an_operator_decides_an_approval_with_the_data_of_its_form(agent: Agent) -> None:
    async def use() -> None:
        async with agent() as client:
            asked = await client.call_tool("order", {"item": "lamp", "count": 11, "wait_seconds": 0})
            job_id = asked.structured_content["job_id"]
            waiting = await until_it_waits(client, job_id)
            reasons = await client.call_tool("why", {"job_id": job_id})
            listed = await client.call_tool("jobs", {"status": "waiting_for_human", "text": "Really", "limit": 1})
            refused = await client.call_tool("approve", {"job_id": job_id, "decision": "approved", "data": {}})
            decision = {"job_id": job_id, "decision": "approved", "data": {"amount": 5}}
            decided = await client.call_tool("approve", decision)
            ended = await client.call_tool("job", {"job_id": job_id, "wait_seconds": 60})
            past = await client.call_tool("history", {"job_id": job_id})

        assert waiting["waiting_for"]["message"] == "Really?"
        assert waiting["waiting_for"]["form"]["required"] == ["amount"]
        assert "Really?" in reasons.structured_content["reasons"][0]["text"]
        assert [each["id"] for each in listed.structured_content["jobs"]] == [job_id]
        assert refused.structured_content["code"] == "invalid_request"
        assert not decided.is_error
        assert ended.structured_content["status"] == "finished"
        assert past.structured_content["events"][-1]["event_type"] == "job_finished"

    run(use)


async def until_it_waits(client: Client, job_id: str) -> Any:
    while True:
        shown = (await client.call_tool("job", {"job_id": job_id})).structured_content
        if shown.get("waiting_for"):
            return shown
        await asyncio.sleep(0.1)


def test_a_signal_is_sent_once_and_a_job_is_cancelled(agent: Agent) -> None:
    async def use() -> None:
        async with agent() as client:
            first, second = [
                (await client.call_tool("blueprint_why", {"amount": 1, "wait_seconds": 0})).structured_content["job_id"]
                for _ in range(2)
            ]
            await client.call_tool("signal", {"job_id": first, "name": "paid", "data": {"amount": 3}})
            ended = await client.call_tool("job", {"job_id": first, "wait_seconds": 60})
            cancelled = await client.call_tool("cancel", {"job_id": second})

        assert ended.structured_content["result"] == {"amount": 3}
        assert cancelled.structured_content["status"] == "cancelled"
        assert not cancelled.is_error

    run(use)


@pytest.mark.parametrize("is_local", [False, True], ids=["http", "stdio"])
def test_a_cancelled_call_cancels_its_job_only_if_asked(
    agent: Agent, local_agent: Agent, up: Up, is_local: bool
) -> None:
    connect = partial(local_agent, "--allow-write") if is_local else agent

    async def cancelled_call(**options: Any) -> str:
        created: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def report(number: float, total: float | None, message: str | None) -> None:
            if not created.done():
                created.set_result(str(message).split()[1])

        async with connect() as client:
            arguments = {"seconds": 600, "wait_seconds": 600, **options}
            call = asyncio.create_task(client.call_tool("sleep", arguments, progress_callback=report))
            job_id = await created
            call.cancel()
            await asyncio.wait([call])
            await client.list_tools()  # the connection is still good
        return job_id

    kept = run(cancelled_call)
    dropped = run(lambda: cancelled_call(cancel_with_call=True))

    with Api(up.url, OPERATOR) as api:
        wait_until(lambda: api.job(dropped)["status"] == "cancelled")
        assert api.job(kept)["status"] not in ("cancelled", "failed")
        api.cancel(kept)


def test_no_answer_contains_the_token(local_agent: Agent) -> None:
    async def use() -> None:
        async with local_agent("--allow-write", token=f"{OPERATOR}x") as client:
            try:
                await client.list_tools()
            except MCPError as error:
                listed = str(error)
            called = await client.call_tool("jobs")

        assert "unauthorized" in listed
        assert called.structured_content["code"] == "unauthorized"
        assert OPERATOR not in listed + text_of(called)

    run(use)


def test_the_server_outlives_an_api_that_is_down(local_agent: Agent) -> None:
    async def use() -> None:
        async with local_agent(url="http://127.0.0.1:9") as client:
            called = await client.call_tool("jobs")

        assert called.is_error
        assert called.structured_content["code"] == "unavailable"

    run(use)
