"""The tools for agents: blueprints and skills of the server, and methods of its client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from inspect import Parameter, getdoc, signature
from time import monotonic
from typing import Any, NamedTuple, get_type_hints

import anyio

from avtomatika.client import AsyncClient
from avtomatika.client.job_lists import JobFilter
from avtomatika.core.job import JobStatus
from avtomatika.core.jsonable import JsonObject
from avtomatika.core.names import is_user_name
from avtomatika.core.value_types import ValueType, fields_type, value_type
from avtomatika.errors import AvtomatikaError, ForbiddenError, TooManyRequestsError, UnavailableError

#: Fields of a job in answers.
_FIELDS = ("status", "current_state", "result", "error", "waiting_for", "progress", "progress_message", "branches")
#: Longest wait of one request, between two reports of progress; of a call; and of a cancelled call for its job.
_HELD_SECONDS, _LONGEST_WAIT_SECONDS, _CANCEL_SECONDS = 1.0, 3600.0, 10
#: Maximum number of history entries that are reported at once, and of characters of a description.
_MOST_REPORTED, _LONGEST_TEXT = 20, 2000


#: Sends the progress of a call: a growing number, and *message*.
Report = Callable[..., Awaitable[None]]


class Tool(NamedTuple):
    """*run* takes a Report, an idempotency key or None, and the arguments; it returns JSON, or raises our errors."""

    description: str
    schema: dict[str, Any]
    run: Callable[[Report, str | None, dict[str, Any]], Awaitable[Any]]
    writes: bool


async def read_tools(client: AsyncClient) -> dict[str, Tool]:
    """Return the tools by name: for existing jobs, for each blueprint with an input type, and for operators also for
    decisions and each skill whose parameters have types. A name that is taken gets a prefix."""
    methods: dict[Callable[..., Any], bool] = {client.why: False, client.history: False, client.cancel: True}
    created: dict[tuple[str, str], tuple[Any, Any, Callable[..., Any]]] = {
        ("blueprint", each["name"]): (each["description"], each["input_schema"], partial(client.submit, each["url"]))
        for each in await client.blueprints()
        if each["url"] is not None and each["input_schema"] is not None
    }
    with suppress(ForbiddenError):
        for worker in await client.workers():
            for name, schema in ((each["name"], each["schema"]) for each in worker["skills"]):
                if worker["status"] != "revoked" and is_user_name(name) and schema.get("properties"):
                    how = schema.get("description"), schema, partial(client.send_task, name)
                    created.setdefault(("skill", name), how)
        methods |= {client.approve: True, client.signal: True}
    tools = {each.__name__: _method(each, each, writes=writes) for each, writes in methods.items()}
    tools |= {"job": _method(partial(job, client), job), "jobs": _method(partial(jobs, client), jobs)}
    for (kind, name), (text, schema, create) in created.items():
        tools.setdefault(f"{kind}_{name}"[:64] if name in tools else name, _creation(client, text, schema, create))
    return tools


def _method(function: Callable[..., Any], described: Callable[..., Any], *, writes: bool = False) -> Tool:
    """Return *function* as a tool; *described* has its docstring and parameters."""
    arguments, names = _arguments(described)

    async def run(report: Report, key: str | None, given: dict[str, Any]) -> Any:
        own = {name: value for name, value in (("report", report), ("idempotency_key", key)) if name in names}
        return await function(**{**own, **arguments.load(given, "arguments")})

    return Tool(getdoc(described) or "", dict(arguments.schema), run, writes)


def _creation(client: AsyncClient, text: Any, schema: Mapping[str, Any], create: Callable[..., Any]) -> Tool:
    """Return a tool that creates jobs with data of *schema*, of which valid parts are taken, as workers may report
    anything. A field takes precedence over an option of its name."""
    properties, required = schema.get("properties"), schema.get("required")
    fields = properties.items() if isinstance(properties, Mapping) else ()
    own = {name: each for name, each in fields if isinstance(each, Mapping)}
    options, _ = _arguments(run_job)
    free = {name: each for name, each in options.schema["properties"].items() if name not in own}
    needed = [name for name in own if name in required] if isinstance(required, list) else []

    async def run(report: Report, key: str | None, given: dict[str, Any]) -> Any:
        chosen = options.load({name: given.pop(name) for name in free if name in given}, "arguments")
        return await run_job(client, report, partial(create, given), **{"idempotency_key": key, **chosen})

    about = f"{text[:_LONGEST_TEXT] if isinstance(text, str) else ''}\n\n{getdoc(run_job)}".strip()
    return Tool(about, {"type": "object", "properties": {**own, **free}, "required": needed}, run, writes=True)


def _arguments(function: Callable[..., Any]) -> tuple[ValueType, Mapping[str, Parameter]]:
    """Return the type of the arguments that agents give, and the parameters; ``**wanted`` are filters of jobs."""
    names = signature(function).parameters
    ours = ("client", "report", "create", "wanted", "return")
    hints = {name: hint for name, hint in get_type_hints(function).items() if name not in ours}
    required = [name for name in hints if names[name].default is Parameter.empty]
    hints |= get_type_hints(JobFilter) if "wanted" in names else {}
    types = {name: value_type(dict | None if hint == JsonObject | None else hint) for name, hint in hints.items()}
    return fields_type(types, required=required), names


async def jobs(client: AsyncClient, limit: int = 20, **wanted: Any) -> Any:
    """List jobs that match all filters, newest first. created_after and created_before are times, or ages such as 1d;
    label is name=value; text is part of the error or of the question. A server without --allow-write creates none."""
    found = []
    async for each in client.jobs(**wanted, page_size=limit):
        found.append(each)
        if len(found) == limit:
            break
    return {"jobs": found}


async def run_job(
    client: AsyncClient,
    report: Report,
    create: Callable[..., Awaitable[Any]],
    wait_seconds: float = 30,
    cancel_with_call: bool = False,
    idempotency_key: str | None = None,
) -> Any:
    """Returns the result or, after wait_seconds (30), the id of the job, which continues. With cancel_with_call, the
    job is cancelled if this call is. Calls with the same idempotency_key create one job."""
    with anyio.CancelScope(shield=True):  # if this were cancelled, no one would know the id of the new job
        job_id = (await create(idempotency_key=idempotency_key))["job_id"]
    try:
        await report(0, message=f"job {job_id} was created")
        return await job(client, report, job_id, wait_seconds)
    except (UnavailableError, TooManyRequestsError) as error:
        return {"job_id": job_id, "note": f"The job was created; then: {error}. To look again, call the tool job."}
    except asyncio.CancelledError:
        if cancel_with_call:
            with anyio.move_on_after(_CANCEL_SECONDS, shield=True), suppress(AvtomatikaError):
                await client.cancel(job_id)
        raise


async def job(client: AsyncClient, report: Report, job_id: str, wait_seconds: float = 0) -> Any:
    """Show a job: status, result or error, and what it waits for, such as the question, the decisions and the form of
    an approval. With wait_seconds, wait up to this time for its end, and report its steps."""
    deadline = monotonic() + min(max(0.0, wait_seconds), _LONGEST_WAIT_SECONDS)
    seen, told, held = 0, 0.0, 0.0
    while True:
        found = await client.job(job_id, fields=_FIELDS, wait=held)
        events = (await client.history(job_id, after=seen))["events"][-_MOST_REPORTED:]
        for event in events:
            seen = told = event["seq"]
            await report(seen, message=f"{event['event_type']} {event['state'] or ''}".rstrip())
        done = min(found["progress"] or 0.0, 0.99)  # below the next event
        if not events and seen + done > told:
            told = seen + done
            await report(told, message=f"{done:.0%} {found['progress_message'] or ''}".rstrip())
        held, status = min(deadline - monotonic(), _HELD_SECONDS), JobStatus(found["status"])
        if status.is_final or status is JobStatus.QUARANTINED or held <= 0:
            note = None if status.is_final else "The job has not ended. To look again, call the tool job."
            answer = {"job_id": job_id, **found, "note": note}
            return {name: value for name, value in answer.items() if value is not None}
