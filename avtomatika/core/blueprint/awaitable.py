"""Makes the async twin of a class with blocking methods, as handlers and skills are given them."""

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

Blocking = TypeVar("Blocking")
Blocking_co = TypeVar("Blocking_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class RunsInThread(Protocol[Blocking_co]):
    """The async twin of a class with blocking methods."""

    def _blocking(self) -> Blocking_co:
        """Return the object whose methods block."""
        ...

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Call *function* in a thread."""
        ...


def awaitable(
    method: Callable[Concatenate[Blocking, P], T],
) -> Callable[Concatenate[RunsInThread[Blocking], P], Coroutine[Any, Any, T]]:
    """Return the async twin of *method*: the same arguments, run in a thread."""

    @wraps(method)
    async def call(self: RunsInThread[Blocking], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._in_thread(partial(method, self._blocking(), *args, **kwargs))

    return call
