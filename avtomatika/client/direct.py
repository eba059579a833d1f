"""A broker as a server of a client: its requests are executed in this process, without a web process.

The frequent ones, which create and read jobs, use the store; all others run the app of the web process.
"""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, lru_cache, partial
from secrets import token_urlsafe
from typing import Any, NamedTuple

import httpx
import orjson
from marshmallow import ValidationError

from avtomatika.addresses import Address, parse_address
from avtomatika.core.job import Job
from avtomatika.core.job_request import load_request
from avtomatika.core.machine import single_task
from avtomatika.core.names import JOB_ID, is_user_name
from avtomatika.core.plan import Plan
from avtomatika.errors import BlueprintError, InvalidRequestError, NotFoundError, SettingsError, UnavailableError
from avtomatika.job_server import JobServer
from avtomatika.schemas.api_creation import LARGEST_BATCH, JobRequestSchema, TaskRequestSchema
from avtomatika.schemas.api_requests import IDEMPOTENCY_KEY, JobQuerySchema
from avtomatika.schemas.job_view import JobView
from avtomatika.schemas.responses import creation_path, dump
from avtomatika.settings import Settings
from avtomatika.store import NewJob
from avtomatika.store.job_watcher import Follower, JobWatcher
from avtomatika.tokens import Clients

from . import answers
from .endpoints import local_url
from .http import Endpoint, UnreachedError, checked
from .steps import Blocking, Held, Request, Steps

logger = logging.getLogger(__name__)

_TASKS, _JOBS = "/api/v1/tasks/", "/api/v1/jobs/"
_QUERY = JobQuerySchema()
#: Pause between reads of the stream of a job that has ended.
_SETTLE_SECONDS = 0.3
#: Fields of a job that are known without its live state.
_STORED = {*answers.JobSummary.__annotations__, "result", "initial_data", "state_history"}


class Answer(NamedTuple):
    """The response to a request, as far as operations read it."""

    body: dict[str, Any]
    headers: Mapping[str, str] = {}

    def json(self) -> dict[str, Any]:
        return self.body


class DirectEndpoint(Endpoint):
    """A server of a client, by the address of its broker. Connects with the first request, in each process anew.

    Its settings are those of the environment. Jobs belong to the client in clients.toml that has *token*; without such
    a file or without a token, to the operator.
    """

    def __init__(self, address: Address, token: str | None, *, timeout: float | timedelta) -> None:
        try:
            parse_address(address.url)
        except ValueError as error:
            raise InvalidRequestError(f"{address}: {error}") from None
        # The URL is that of links in answers.
        super().__init__(local_url(), token or token_urlsafe(32), weight=address.weight, timeout=timeout)
        self.name = str(address)
        self._connect = partial(_Api, self, address.url, is_operator=not token)
        self._by_process: dict[int, _Api] = {}

    def exchange(self, request: Request) -> Steps[Any]:
        """Execute *request* and return its response. Raises UnavailableError if the broker is unreachable."""
        try:
            api = self._by_process.get(os.getpid()) or self._by_process.setdefault(os.getpid(), self._connect())
            return (yield from api.exchange(request))
        except UnavailableError as error:
            again = type(error)(f"{self.name}: {error}", retry_after_seconds=error.retry_after_seconds)
            raise again from error.__cause__

    def close(self) -> None:
        api = self._by_process.pop(os.getpid(), None)
        if api is not None:
            api.server.server.close()


class _Api:
    """The API on one server for one client. Thread-safe."""

    def __init__(self, endpoint: Endpoint, url: str, *, is_operator: bool) -> None:
        settings = Settings.from_environment()
        limits = {"socket_timeout": endpoint.timeout, "socket_connect_timeout": endpoint.timeout}
        self.server = JobServer(url, settings, max_connections=settings.redis_max_connections, **limits)
        self._endpoint = endpoint
        self._store = self.server.store
        path = settings.clients_config_path
        self._clients = Clients(path=path)
        if is_operator or not self._clients.are_configured or endpoint.token == settings.client_token:
            self._clients = Clients(token=endpoint.token, path=path)
        self._watcher = JobWatcher(self._store)
        self._is_checked = False

    def exchange(self, request: Request) -> Steps[Any]:
        """Execute *request* and return its response."""
        execute, job_id = Blocking(partial(self._execute, request)), request.path.removeprefix(_JOBS)
        if job_id.endswith("/stream") and request.params["wait"]:
            return (yield from self._stream(request))
        if request.method != "GET" or job_id == "counts" or not JOB_ID.fullmatch(job_id):
            return (yield execute)
        try:
            wanted = _QUERY.load({name: value for name, value in request.params.items() if value is not None})
        except ValidationError:
            return (yield execute)
        read = Blocking(partial(self._read, job_id, wanted["shown"]))
        job, answer = yield read
        if wanted["wait"] and not job.status.is_final:
            yield Held(partial(self._watch, Follower(job)), wanted["wait"])
            _, answer = yield read
        return answer

    def _stream(self, request: Request) -> Steps[Any]:
        """Return a page of a stream. Wait for it here: in the app, each wait occupies a thread."""
        read = Blocking(partial(self._execute, replace(request, params={**request.params, "wait": None})))
        response = yield read
        job = None if response.json()["entries"] else (yield Blocking(partial(self._store.load, str(request.job_id))))
        if job is not None:
            follower = Follower(job, after=request.params["after"], reads_stream=True)
            yield Held(
                partial(self._watch, follower), _SETTLE_SECONDS if job.status.is_final else request.params["wait"]
            )
            response = yield read
        return response

    def _read(self, job_id: str, shown: tuple[str, ...]) -> tuple[Job, Answer]:
        job, caller = self._store.load(job_id), self._clients.identify(self._endpoint.token)
        if job is None or not (caller.is_operator or job.client == caller.name):
            raise NotFoundError("job", job_id)
        view = JobView(job) if shown and _STORED.issuperset(shown) else JobView(job, self._store.live_state(job))
        return job, Answer(dump(answers.Job, view, only=shown or None))

    def _watch(self, follower: Follower, on_change: Callable[[], object]) -> AbstractContextManager[object]:
        follower.on_change = on_change
        return self._watcher.following(follower)

    def _execute(self, request: Request) -> Any:
        if request.method != "GET" and not self._is_checked:
            self._store.keyring.check()
            self._is_checked = True
        if request.is_creation:
            with suppress(ValidationError):  # the app reports it
                return self._created(request)
        return self._run_app(request)

    def _created(self, request: Request) -> Answer:
        """Create the jobs of *request*. Raises ValidationError without a reason if it is not valid."""
        path, key = request.path.removesuffix("/batch"), request.headers.get("Idempotency-Key")
        is_batch = path != request.path
        skill = path.removeprefix(_TASKS) if path.startswith(_TASKS) else None
        plan = self._plans.get(path) if skill is None else single_task.PLAN
        requests = request.json["jobs" if skill is None else "tasks"] if is_batch else [request.json]
        is_named = (skill is None or is_user_name(skill)) and (key is None or IDEMPOTENCY_KEY.fullmatch(key))
        if plan is None or not is_named or not 1 <= len(requests) <= LARGEST_BATCH:
            raise ValidationError(path)
        caller = self._clients.identify(self._endpoint.token)
        new = partial(NewJob, plan=plan, client=caller.name, idempotency_key=key, skill=skill)
        with _collection_paused() if is_batch else nullcontext():
            created = self._store.create_many(
                [new(**_fields(each, is_task=skill is not None)) for each in requests],
                monthly=caller.monthly_attempts,
                declare=lambda *skills: self.server.declare([plan], skills),
            )
        if is_batch:
            return Answer({"status": "accepted", "job_ids": [each.job_id for each in created]})
        job_id = created[0].job_id
        return Answer({"status": "accepted", "job_id": job_id}, {"Location": _JOBS + job_id})

    @cached_property
    def _plans(self) -> dict[str | None, Plan]:
        """Plans by the path on which their jobs are created."""
        return {creation_path(plan): plan for plan in self.server.plans}

    def _run_app(self, request: Request) -> httpx.Response:
        try:
            self._store.ping()  # its error has the reason; that of the app does not
        except UnavailableError as error:
            raise UnreachedError(str(error)) from error.__cause__
        return checked(self._app.request(**self._endpoint.arguments(request)), request)

    @cached_property
    def _app(self) -> httpx.Client:
        from avtomatika.web.wsgi import app_of  # Flask is slow to import

        plans: list[Plan] = []
        try:
            plans = self.server.plans
        except (BlueprintError, SettingsError) as error:  # most requests need none
            logger.warning("the blueprints are ignored: %s", error)
        return httpx.Client(transport=httpx.WSGITransport(app_of(self.server, plans, self._clients)))


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause garbage collection: it would search what a batch creates for cycles, which has none, many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _fields(request: dict[str, Any], *, is_task: bool) -> dict[str, Any]:
    """Return the fields of *request* as arguments of a NewJob. Raises ValidationError."""
    options = {**request}
    data = options.pop("params" if is_task else "initial_data", {})
    if not isinstance(data, dict):
        raise ValidationError("must be a JSON object")
    return {**_options(orjson.dumps(options), is_task), "initial_data": data}


@lru_cache(maxsize=256)
def _options(options: bytes, is_task: bool) -> dict[str, Any]:
    """Return the fields of a request without its data; most requests of a program have the same."""
    return load_request((TaskRequestSchema() if is_task else JobRequestSchema()).load(orjson.loads(options)))
