"""The clients of the HTTP API: :class:`Client` blocks, :class:`AsyncClient` is awaited. Both have the same methods.

Responses are the JSON of the API, typed by the TypedDicts of :mod:`.answers`; errors are in :mod:`avtomatika.errors`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial, update_wrapper
from inspect import Parameter, signature
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from avtomatika.addresses import Address, Mode

from . import operations, operator_operations, streams
from .endpoints import Endpoints
from .http import LIMITS
from .steps import Blocking, Held, Listing, Request, Sleep, Step, Steps, run, run_async

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


def _blocking(operation: Callable[P, Steps[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(operation(*args, **kwargs), self._perform)

    return _named_like(operation, method)


def _listing(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[Client, P], Iterator[T]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        pages, cursor = operation(*args, **kwargs), None
        while True:
            items, cursor = run(pages.page(cursor), self._perform)
            yield from items
            if cursor is None:
                return

    return _named_like(operation, method)


def _awaited(operation: Callable[P, Steps[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_async(operation(*args, **kwargs), self._perform)

    return _named_like(operation, method)


def _async_listing(operation: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        pages, cursor = operation(*args, **kwargs), None
        while True:
            items, cursor = await run_async(pages.page(cursor), self._perform)
            for item in items:
                yield item
            if cursor is None:
                return

    return _named_like(operation, method)


def _named_like(operation: Callable[..., Any], method: C) -> C:
    """Give *method* the name, documentation and signature of *operation*."""
    given = signature(operation)
    update_wrapper(method, operation)
    this = Parameter("self", Parameter.POSITIONAL_ONLY)
    method.__signature__ = given.replace(parameters=[this, *given.parameters.values()])  # type: ignore[attr-defined]
    return method


class _Connected:
    """The servers of a client."""

    #: The client of httpx that sends requests.
    _http_class: type[httpx.Client] | type[httpx.AsyncClient]
    _http: Any

    def __init__(
        self,
        servers: str | Sequence[str | Address],
        token: str | None = None,
        *,
        mode: Mode | str = Mode.FAILOVER,
        timeout: float | timedelta = 10.0,
    ) -> None:
        self._connect(Endpoints(servers, token, mode=mode, timeout=timeout))

    @classmethod
    def from_environment(cls, token: str | None = None, *, timeout: float | timedelta = 10.0) -> Self:
        """Connect to the servers of ``ORCHESTRATORS_CONFIG``, else to ``AVTOMATIKA_URL``, else to the ``avtomatika up``
        of the working directory. *token* is by default ``CLIENT_TOKEN``."""
        client = cls.__new__(cls)
        client._connect(Endpoints.from_environment(token, timeout=timeout))
        return client

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoints})"

    def _connect(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._http = self._http_class(limits=LIMITS)


class Client(_Connected):
    """A client of one server, or of several: a context manager, or call :meth:`close`. Threads may share it.

    *servers* is a URL, or a list of URLs and of :class:`Address` with tokens and weights of their own. With several,
    *mode* decides which one receives new jobs, and a request that one of them cannot answer goes to the next.
    *timeout* limits each request; waiting for a job adds to it.
    """

    _http_class = httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._endpoints.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case dict():
                return self._http.request(**step)
            case Request():
                return run(self._endpoints.exchange(step), self._perform)
            case Sleep():
                return time.sleep(step.seconds)
            case Blocking():
                return step.function()
            case Held():
                changed = threading.Event()
                with step.watch(changed.set):
                    return changed.wait(step.seconds)

    submit = _blocking(operations.submit)
    submit_many = _blocking(operations.submit_many)
    send_task = _blocking(operations.send_task)
    send_tasks = _blocking(operations.send_tasks)
    job = _blocking(operations.job)
    jobs = _listing(operations.jobs)
    history = _blocking(operations.history)
    export = _blocking(operations.export)
    why = _blocking(operations.why)
    cancel = _blocking(operations.cancel)
    retry = _blocking(operations.retry)
    approve = _blocking(operations.approve)
    approval_link = _blocking(operations.approval_link)
    login_link = _blocking(operations.login_link)
    wait = _blocking(operations.wait)
    stream = _listing(streams.stream)
    stream_page = _blocking(streams.stream_page)
    files = _listing(operations.files)
    upload = _blocking(operations.upload)
    download = _blocking(operations.download)
    lineage = _blocking(operations.lineage)
    blueprints = _blocking(operations.blueprints)
    blueprint = _blocking(operations.blueprint)
    blueprint_graph = _blocking(operations.blueprint_graph)
    job_graph = _blocking(operations.job_graph)
    workers = _blocking(operator_operations.workers)
    queues = _blocking(operator_operations.queues)
    messages = _blocking(operator_operations.messages)
    purge = _blocking(operator_operations.purge)
    dead_letters = _blocking(operator_operations.dead_letters)
    dead_letter = _blocking(operator_operations.dead_letter)
    requeue_dead_letter = _blocking(operator_operations.requeue_dead_letter)
    drop_dead_letter = _blocking(operator_operations.drop_dead_letter)
    doctor = _blocking(operator_operations.doctor)


class AsyncClient(_Connected):
    """The same for asyncio: ``async with AsyncClient(url, token) as client: await client.job(job_id)``."""

    _http_class = httpx.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._endpoints.close()

    async def _perform(self, step: Step) -> Any:
        match step:
            case dict():
                return await self._http.request(**step)
            case Request():
                return await run_async(self._endpoints.exchange(step), self._perform)
            case Sleep():
                return await asyncio.sleep(step.seconds)
            case Blocking():
                return await asyncio.to_thread(step.function)
            case Held():
                changed = asyncio.Event()
                on_change = partial(asyncio.get_running_loop().call_soon_threadsafe, changed.set)
                with step.watch(on_change), suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), step.seconds)

    submit = _awaited(operations.submit)
    submit_many = _awaited(operations.submit_many)
    send_task = _awaited(operations.send_task)
    send_tasks = _awaited(operations.send_tasks)
    job = _awaited(operations.job)
    jobs = _async_listing(operations.jobs)
    history = _awaited(operations.history)
    export = _awaited(operations.export)
    why = _awaited(operations.why)
    cancel = _awaited(operations.cancel)
    retry = _awaited(operations.retry)
    approve = _awaited(operations.approve)
    approval_link = _awaited(operations.approval_link)
    login_link = _awaited(operations.login_link)
    wait = _awaited(operations.wait)
    stream = _async_listing(streams.stream)
    stream_page = _awaited(streams.stream_page)
    files = _async_listing(operations.files)
    upload = _awaited(operations.upload)
    download = _awaited(operations.download)
    lineage = _awaited(operations.lineage)
    blueprints = _awaited(operations.blueprints)
    blueprint = _awaited(operations.blueprint)
    blueprint_graph = _awaited(operations.blueprint_graph)
    job_graph = _awaited(operations.job_graph)
    workers = _awaited(operator_operations.workers)
    queues = _awaited(operator_operations.queues)
    messages = _awaited(operator_operations.messages)
    purge = _awaited(operator_operations.purge)
    dead_letters = _awaited(operator_operations.dead_letters)
    dead_letter = _awaited(operator_operations.dead_letter)
    requeue_dead_letter = _awaited(operator_operations.requeue_dead_letter)
    drop_dead_letter = _awaited(operator_operations.drop_dead_letter)
    doctor = _awaited(operator_operations.doctor)
