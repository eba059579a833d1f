"""Middleware: a callable that wraps skills and receives the context and the next callable.

Coroutine functions wrap async skills, other callables sync ones.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from avtomatika.errors import SkillError

#: The next callable, down to the skill. Takes a TaskContext or AsyncTaskContext, returns a Result (for async skills an
#: awaitable) and raises the skill's exceptions.
Next = Callable[[Any], Any]
#: Takes the context and a Next. Returns a Result, or anything that a skill may return; for async skills an awaitable.
Middleware = Callable[[Any, Any], Any]


def wrap(call: Next, middleware: Sequence[Middleware]) -> Next:
    """Return *call* wrapped in *middleware*, the first outermost."""
    for each in reversed(middleware):
        call = partial(_step, each, call)
    return call


def checked(middleware: Middleware) -> Middleware:
    """Return *middleware* if its signature fits. Raises SkillError."""
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError as error:
        name = getattr(middleware, "__name__", repr(middleware))
        raise SkillError(f"middleware {name!r} must accept the context and the next callable: {error}") from None
    return middleware


def _step(middleware: Middleware, call: Next, context: Any) -> Any:
    return middleware(context, call)
