"""Middleware: what is done around skills. A callable that is given the context and what comes next.

One that is a coroutine function stands around async skills, any other around sync ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from avtomatika.errors import SkillError

from .context import TaskContext

#: The rest of the way to the skill: answers a Result (async: an awaitable of one), and raises what the skill raises.
Next = Callable[[TaskContext], Any]
#: Answers a Result, or whatever a skill may answer; around async skills an awaitable of that.
Middleware = Callable[[TaskContext, Next], Any]


def around(call: Next, middleware: Sequence[Middleware]) -> Next:
    """*call* with *middleware* around it, the first one outermost."""
    for each in reversed(middleware):
        call = partial(_step, each, call)
    return call


def checked(middleware: Middleware) -> Middleware:
    """*middleware* if it can be called as one; raises SkillError."""
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError as error:
        name = getattr(middleware, "__name__", repr(middleware))
        raise SkillError(f"middleware {name!r} must take the context and what comes next: {error}") from None
    return middleware


def _step(middleware: Middleware, call: Next, context: TaskContext) -> Any:
    return middleware(context, call)
