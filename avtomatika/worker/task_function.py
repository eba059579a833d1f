"""Skills as other programs call them: ``encode.send(path="a.mov")`` runs a task on any worker with the skill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, get_args, get_type_hints

if TYPE_CHECKING:
    from avtomatika.client import Client
    from avtomatika.client.creation import TaskOptions
    from avtomatika.client.tasks import TaskHandle

P = ParamSpec("P")
Returned = TypeVar("Returned", covariant=True)
Result = TypeVar("Result")

#: Options of a task, in the order of the documentation; all other keyword arguments are parameters of the skill.
_OPTIONS: tuple[str, ...] = ("delay", "at", "priority", "fairness_key", "unique_key", "on_conflict", "labels")
_OPTIONS += ("idempotency_key", "retries", "time_limit", "webhook_url")


class TaskFunction(Protocol[P, Returned, Result]):
    """A registered skill: the function itself, with methods that send tasks to workers.

    The options of ``send`` and ``map`` are *delay* (seconds or a timedelta) or *at* (a datetime with a time zone),
    *priority*, *fairness_key*, *unique_key*, *on_conflict*, *labels*, *idempotency_key*, *retries*, *time_limit* and
    *webhook_url*. The server is the one of :meth:`Client.from_environment`.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Returned:
        """Call the function here."""

    def send(self, **params: Any) -> TaskHandle[Result]:
        """Send a task with *params*, which may include options. Raises UnavailableError, InvalidRequestError."""

    def map(
        self,
        params: Iterable[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> list[TaskHandle[Result]]:
        """Send a task for each of *params*, at most 1,000, all or none."""

    def using(self, client: Client) -> TaskFunction[P, Returned, Result]:
        """Return the same, which sends through *client*."""


def sendable(
    function: Callable[..., Any], skill: str, client: Client | None = None, *, is_batch: bool = False
) -> Callable[..., Any]:
    """Return *function* with the methods of :class:`TaskFunction`; objects without attributes stay as they are."""
    sender = _Sender(function, skill, client, is_batch=is_batch)
    with suppress(AttributeError, TypeError):
        for name, method in (("send", sender.send), ("map", sender.map), ("using", sender.using)):
            setattr(function, name, method)
    return function


class _Sender:
    """Sends tasks of *skill*, whose results have the type that *function* returns, with *is_batch* in a list."""

    def __init__(self, function: Callable[..., Any], skill: str, client: Client | None, *, is_batch: bool) -> None:
        self._is_batch = is_batch
        self._function = function
        self._skill = skill
        self._client = client

    def send(self, **params: Any) -> TaskHandle[Any]:
        client, options = self._connected(), {name: params.pop(name) for name in _OPTIONS if name in params}
        return self._handle(client, client.send_task(self._skill, params, **options)["job_id"])

    def map(self, params: Iterable[Mapping[str, Any]], **options: Any) -> list[TaskHandle[Any]]:
        client = self._connected()
        for name in options.keys() - {*_OPTIONS}:
            raise TypeError(f"map() has no option {name!r}; it has {', '.join(_OPTIONS)}")
        return [self._handle(client, each) for each in client.send_tasks(self._skill, [*params], **options)["job_ids"]]

    def using(self, client: Client) -> Callable[..., Any]:
        return sendable(partial(self._function), self._skill, client, is_batch=self._is_batch)

    def _connected(self) -> Client:
        return self._client or _default_client()

    def _handle(self, client: Client, job_id: str) -> TaskHandle[Any]:
        from avtomatika.client.tasks import TaskHandle

        return TaskHandle(client, job_id, _loader(self._function, self._is_batch))


@cache
def _default_client() -> Client:
    from avtomatika.client import Client

    return Client.from_environment()


@cache
def _loader(function: Callable[..., Any], is_batch: bool) -> Callable[[Any], Any]:
    """Return what converts a result from JSON, by the annotation of *function*."""
    from avtomatika.core.value_types import value_type

    try:
        innermost = inspect.unwrap(getattr(function, "func", function))
        returned = get_type_hints(innermost, include_extras=True)["return"]
        found = value_type(get_args(returned)[0] if is_batch else returned)
    except (KeyError, TypeError, NameError, IndexError):  # none, or one that has no JSON form
        return _unwrapped
    if found.schema.get("type") == "object":
        return lambda data: found.load(data, "result")
    return lambda data: found.load(_unwrapped(data), "result")


def _unwrapped(data: Any) -> Any:
    """Return the value of a skill that did not return a dict: workers report it as ``{"result": value}``."""
    return data["result"] if isinstance(data, dict) and data.keys() == {"result"} else data
