"""Operations as generators of steps, so that each is written once and runs both blocking and asynchronously.

An operation yields a step, receives its result (for a request the response), and returns the answer.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Generic, Protocol, TypeVar, cast

import httpx

from avtomatika.core.frozen import dataclass
from avtomatika.errors import AvtomatikaError

T = TypeVar("T")
S = TypeVar("S")
#: Paths under it name a job.
_JOBS = "/api/v1/jobs/"


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the API.

    The server may hold it for *held_seconds*. *is_creation*: with an idempotency key it is safe to repeat.
    *is_redirected*: the answer must be a redirect.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    held_seconds: float = 0.0
    is_creation: bool = False
    is_redirected: bool = False

    @property
    def job_id(self) -> str | None:
        """The id of the job in the path."""
        return None if self.is_creation or not self.path.startswith(_JOBS) else self.path.split("/")[4]


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause before a retry."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Blocking:
    """Work on local files, which an event loop leaves to a thread."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A wait of at most *seconds* for an event; *watch* calls its argument, in another thread, when it happens."""

    watch: Callable[[Callable[[], object]], AbstractContextManager[object]]
    seconds: float


#: The arguments of httpx are a step, too: the request over HTTP.
Step = Request | Sleep | Blocking | Held | dict[str, Any]
Steps = Generator[Step, Any, T]


class Listing(Protocol[T]):
    """Items that are requested page by page."""

    def page(self, cursor: Any) -> Steps[tuple[list[T], Any]]:
        """Request one page; return its items and the cursor of the next page, None after the last."""


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A list that is requested page by page: the items under *key*; *cursor* is the parameter that names the page."""

    path: str
    key: str
    cursor: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def page(self, cursor: str | None) -> Steps[tuple[list[T], str | None]]:
        """Request one page; return its items and the cursor of the next page, None after the last."""
        page = yield from json_object(Request("GET", self.path, {**self.params, self.cursor: cursor}))
        return page[self.key], page["next"]


def json_object(request: Request) -> Steps[Any]:
    """Send *request* and return the JSON object of the response."""
    response: httpx.Response = yield request
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise AvtomatikaError(f"{request.path} answered {response.status_code} without a JSON object")
    return answer


def json_answer(kind: type[T], request: Request) -> Steps[T]:
    """Send *request* and return the JSON object of the response, which is a *kind*."""
    return json_object(request)


def json_items(kind: type[T], key: str, request: Request) -> Steps[list[T]]:
    """Send *request* and return the list under *key* of the response, whose items are each a *kind*."""
    answer = yield from json_object(request)
    return cast("list[T]", answer[key])


def content(request: Request) -> Steps[bytes]:
    """Send *request* and return the body of the response."""
    response: httpx.Response = yield request
    return response.content


def run(steps: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Like :func:`run_async`, with a *perform* that blocks."""

    async def performed(step: S) -> Any:
        return perform(step)

    try:
        run_async(steps, performed).send(None)  # no step suspends it
    except StopIteration as end:
        return cast("T", end.value)
    raise RuntimeError("a step has suspended a blocking operation")


async def run_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """Run a generator of steps to its end; *perform* carries out each step, and its errors are raised in the
    generator."""
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return cast("T", end.value)
