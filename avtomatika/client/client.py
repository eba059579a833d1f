"""The clients of the HTTP API: :class:`Client` blocks, :class:`AsyncClient` is awaited. Both have the same methods.

Responses are the JSON of the API, typed by the TypedDicts of :mod:`.answers`; errors are in :mod:`avtomatika.errors`.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial, update_wrapper
from inspect import Parameter, signature
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

import httpx

from avtomatika.addresses import Address, Mode

from . import creation, job_lists, operations, operator_operations, streams
from .endpoints import Endpoints
from .http import LIMITS
from .steps import Blocking, Held, Listing, Request, Sleep, Step, Steps, run, run_async

#: Threads of an AsyncClient, which start as needed: pages of streams on a broker hold one while they wait.
_MOST_THREADS = 100
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", covariant=True)
C = TypeVar("C", bound=Callable[..., Any])


class _Method(Protocol[P, R]):
    """An operation as a method: it blocks in Client, and is awaited in AsyncClient."""

    @overload
    def __get__(self, client: "Client", owner: object) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: object) -> Callable[P, Coroutine[Any, Any, R]]: ...


class _ListMethod(Protocol[P, R]):
    """The same of an operation that iterates over items."""

    @overload
    def __get__(self, client: "Client", owner: object) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: object) -> Callable[P, AsyncIterator[R]]: ...


def _method(operation: Callable[P, Steps[T]]) -> _Method[P, T]:
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._run(operation(*args, **kwargs))

    return cast("_Method[P, T]", _named_like(operation, method))


def _listing(operation: Callable[P, Listing[T]]) -> _ListMethod[P, T]:
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._items(operation(*args, **kwargs))

    return cast("_ListMethod[P, T]", _named_like(operation, method))


def _named_like(operation: Callable[..., Any], method: C) -> C:
    """Give *method* the name, documentation and signature of *operation*."""
    given = signature(operation)
    update_wrapper(method, operation)
    this = Parameter("self", Parameter.POSITIONAL_ONLY)
    method.__signature__ = given.replace(parameters=[this, *given.parameters.values()])  # type: ignore[attr-defined]
    return method


class _Connected:
    """The servers of a client, and the operations on them."""

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
        of the working directory, else to ``REDIS_URL``. *token* is by default ``CLIENT_TOKEN``."""
        client = cls.__new__(cls)
        client._connect(Endpoints.from_environment(token, timeout=timeout))
        return client

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoints})"

    def _connect(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._http = self._http_class(limits=LIMITS)

    submit = _method(creation.submit)
    submit_many = _method(creation.submit_many)
    send_task = _method(creation.send_task)
    send_tasks = _method(creation.send_tasks)
    job = _method(operations.job)
    jobs = _listing(job_lists.jobs)
    count_jobs = _method(job_lists.count_jobs)
    act_on_jobs = _listing(job_lists.act_on_jobs)
    history = _method(operations.history)
    export = _method(operations.export)
    why = _method(operations.why)
    cancel = _method(operations.cancel)
    retry = _method(operations.retry)
    fork = _method(operations.fork)
    tries = _method(operations.tries)
    approve = _method(operations.approve)
    signal = _method(operations.signal)
    approval_link = _method(operations.approval_link)
    login_link = _method(operations.login_link)
    wait = _method(operations.wait)
    stream = _listing(streams.stream)
    stream_page = _method(streams.stream_page)
    files = _listing(operations.files)
    upload = _method(operations.upload)
    download = _method(operations.download)
    lineage = _method(operations.lineage)
    blueprints = _method(operations.blueprints)
    blueprint = _method(operations.blueprint)
    blueprint_graph = _method(operations.blueprint_graph)
    job_graph = _method(operations.job_graph)
    workers = _method(operator_operations.workers)
    worker = _method(operator_operations.worker)
    drain_worker = _method(operator_operations.drain_worker)
    resume_worker = _method(operator_operations.resume_worker)
    revoke_worker = _method(operator_operations.revoke_worker)
    allow_worker = _method(operator_operations.allow_worker)
    scaling = _method(operator_operations.scaling)
    queues = _method(operator_operations.queues)
    messages = _method(operator_operations.messages)
    purge = _method(operator_operations.purge)
    pause_queue = _method(operator_operations.pause_queue)
    resume_queue = _method(operator_operations.resume_queue)
    limits = _method(operator_operations.limits)
    limit = _method(operator_operations.limit)
    set_limit = _method(operator_operations.set_limit)
    remove_limit = _method(operator_operations.remove_limit)
    pause_limit = _method(operator_operations.pause_limit)
    resume_limit = _method(operator_operations.resume_limit)
    schedules = _method(operator_operations.schedules)
    schedule = _method(operator_operations.schedule)
    put_schedule = _method(operator_operations.put_schedule)
    remove_schedule = _method(operator_operations.remove_schedule)
    pause_schedule = _method(operator_operations.pause_schedule)
    resume_schedule = _method(operator_operations.resume_schedule)
    run_schedule = _method(operator_operations.run_schedule)
    backfill = _method(operator_operations.backfill)
    dead_letters = _method(operator_operations.dead_letters)
    dead_letter = _method(operator_operations.dead_letter)
    requeue_dead_letter = _method(operator_operations.requeue_dead_letter)
    drop_dead_letter = _method(operator_operations.drop_dead_letter)
    overview = _method(operator_operations.overview)
    doctor = _method(operator_operations.doctor)


class Client(_Connected):
    """A client of one server, or of several: a context manager, or call :meth:`close`. Threads may share it.

    *servers* is the URL of a web process or of a broker, or a list of URLs and of :class:`Address` with tokens and
    weights of their own; a broker needs no token. With several, *mode* decides which one receives new jobs, and a
    request that one of them cannot answer goes to the next. *timeout* limits each request; waits for a job add to it.
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

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, self._perform)

    def _items(self, pages: Listing[T]) -> Iterator[T]:
        cursor = None
        while True:
            items, cursor = self._run(pages.page(cursor))
            yield from items
            if cursor is None:
                return

    def _perform(self, step: Step) -> Any:
        match step:
            case dict():
                return self._http.request(**step)
            case Request():
                return self._run(self._endpoints.exchange(step))
            case Sleep():
                return time.sleep(step.seconds)
            case Blocking():
                return step.function()
            case Held():
                changed = threading.Event()
                with step.watch(changed.set):
                    return changed.wait(step.seconds)


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
        self._threads.shutdown(wait=False)

    def _connect(self, endpoints: Endpoints) -> None:
        super()._connect(endpoints)
        self._threads = ThreadPoolExecutor(_MOST_THREADS)

    async def _run(self, steps: Steps[T]) -> T:
        return await run_async(steps, self._perform)

    async def _items(self, pages: Listing[T]) -> AsyncIterator[T]:
        cursor = None
        while True:
            items, cursor = await self._run(pages.page(cursor))
            for item in items:
                yield item
            if cursor is None:
                return

    async def _perform(self, step: Step) -> Any:
        match step:
            case dict():
                return await self._http.request(**step)
            case Request():
                return await self._run(self._endpoints.exchange(step))
            case Sleep():
                return await asyncio.sleep(step.seconds)
            case Blocking():
                return await asyncio.get_running_loop().run_in_executor(self._threads, step.function)
            case Held():
                changed = asyncio.Event()
                on_change = partial(asyncio.get_running_loop().call_soon_threadsafe, changed.set)
                with step.watch(on_change), suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), step.seconds)
