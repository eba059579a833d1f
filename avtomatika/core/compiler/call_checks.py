"""Checks the arguments of calls in a handler's source against the signature, and literal values as at run time.

Values that are computed at run time are not checked.
"""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from avtomatika.core.blueprint.actions import BRANCH_KEYS, Actions
from avtomatika.errors import HandlerError

from .static_values import Scope

#: Valid values for the required arguments of an action, used in a trial call for those that are not checked here.
_VALID: Mapping[str, Any] = {
    "state": "state",
    "then": "state",
    "aggregate_into": "state",
    "task_type": "task",
    "name": "blueprint",
    "transitions": {"success": "state"},
    "integration": "integration",
    "message": "message",
    "tasks": (),
}
#: Arguments whose values the compiler checks itself, with better messages.
_CHECKED_ELSEWHERE = frozenset({"state", "then", "aggregate_into", "task_type", "name", "transitions", "tasks"})


def expanded(call: ast.Call, scope: Scope) -> list[ast.keyword]:
    """Return the keywords of *call*, with ``**`` of a dict with known keys replaced by its entries."""
    return [each for keyword in call.keywords for each in _expanded(keyword, scope)]


def misspelt(call: ast.Call, function: Callable[..., Any], name: str, scope: Scope) -> str | None:
    """Return a description of an argument that *function* does not accept; None if it accepts all."""
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    keywords = [each.arg for each in expanded(call, scope) if each.arg is not None]
    known = [each.name for each in parameters]
    for keyword in keywords:
        if keyword not in known:
            return f"{name} has no argument {keyword!r}; {_suggestion(keyword, known)}"
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    given = _positional(call)
    if len(given) > len(positional):
        return (
            f"{name} takes at most {len(positional)} arguments by position, not {len(given)}; give the others by name"
        )
    twice = set(positional[: len(given)]).intersection(keywords) or {one for one in keywords if keywords.count(one) > 1}
    return f"{name} is given the argument {min(twice)!r} twice" if twice else None


def missing(call: ast.Call, method: str, scope: Scope) -> str | None:
    """Return a description of a required argument that is missing."""
    keywords = expanded(call, scope)
    if any(keyword.arg is None for keyword in keywords) or len(_positional(call)) < len(call.args):
        return None
    parameters = list(inspect.signature(getattr(Actions, method)).parameters.values())[1:]
    given = {each.name for each in parameters[: len(call.args)]}.union(str(keyword.arg) for keyword in keywords)
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in given:
            return f"{method} needs the argument {parameter.name!r}"
    return None


def invalid_values(call: ast.Call, method: str, scope: Scope) -> str | None:
    """Return the error that an action would raise for its literal arguments; None if it accepts them."""
    function = getattr(Actions, method)
    names = list(inspect.signature(function).parameters)[1:]
    given = dict(zip(names, _positional(call), strict=False))
    given |= {keyword.arg: keyword.value for keyword in expanded(call, scope) if keyword.arg in names}
    trial = {name: value for name, value in _VALID.items() if name in names}
    trial |= {name: value for name, node in given.items() if name not in _CHECKED_ELSEWHERE for value in _literal(node)}
    if method == "wait" and not _is_whole_wait(call, given, trial):
        trial["seconds"], trial["until"] = trial.get("seconds") or 1, None
    return _raised(lambda: function(Actions(), **trial))


def invalid_branch(branch: ast.Dict) -> str | None:
    """Return the error that ``dispatch_parallel`` would raise for a task written as a dict."""
    task: dict[str, Any] = {"task_type": "task"}
    for key, node in zip(branch.keys, branch.values, strict=True):
        for name in () if key is None else _literal(key):
            if name not in (*BRANCH_KEYS, "type"):
                return f"a task of dispatch_parallel has no {name!r}; {_suggestion(name, BRANCH_KEYS)}"
            if name not in ("type", *_CHECKED_ELSEWHERE):
                task.update((name, value) for value in _literal(node))
    return _raised(lambda: Actions().dispatch_parallel([task], aggregate_into="state"))


def invalid_construction(call: ast.Call, function: Callable[..., Any], scope: Scope) -> str | None:
    """Return the error in a call of a class of this library, such as ``RetryPolicy``."""
    name = function.__name__
    if (problem := misspelt(call, function, name, scope)) is not None:
        return problem
    values = {each.arg: value for each in expanded(call, scope) if each.arg for value in _literal(each.value)}
    return None if call.args else _raised(lambda: function(**values), name)


def _expanded(keyword: ast.keyword, scope: Scope) -> Iterator[ast.keyword]:
    choices = scope.choices(keyword.value) if keyword.arg is None else ()
    entries = [_entries(choice, scope) for choice in choices]
    if len(entries) != 1 or entries[0] is None:
        yield keyword
        return
    for name, value in entries[0]:
        yield ast.copy_location(ast.keyword(name, value), keyword.value)


def _entries(node: ast.expr, scope: Scope) -> list[tuple[str, ast.expr]] | None:
    if isinstance(node, ast.Dict):
        names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        pairs = [(name, value) for name, value in zip(names, node.values, strict=True) if isinstance(name, str)]
        return pairs if len(pairs) == len(names) else None
    match scope.values(node):
        case (Mapping() as constant,) if all(isinstance(name, str) for name in constant):
            return [(name, ast.copy_location(ast.Constant(value), node)) for name, value in constant.items()]
        case _:
            return None


def _positional(call: ast.Call) -> list[ast.expr]:
    """Return the positional arguments before the first starred one."""
    starred = (place for place, argument in enumerate(call.args) if isinstance(argument, ast.Starred))
    return call.args[: next(starred, len(call.args))]


def _literal(node: ast.expr) -> Iterator[Any]:
    """Yield the value of *node* if it is a literal."""
    try:
        yield ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return


def _is_whole_wait(call: ast.Call, given: Mapping[str, ast.expr], trial: Mapping[str, Any]) -> bool:
    """Return True if the known values of ``seconds`` and ``until`` are all that the call passes."""
    is_open = any(keyword.arg is None for keyword in call.keywords) or any(
        isinstance(argument, ast.Starred) for argument in call.args
    )
    return not is_open and all(name in trial for name in ("seconds", "until") if name in given)


def _raised(function: Callable[[], object], name: str | None = None) -> str | None:
    try:
        function()
    except (HandlerError, ValueError) as error:
        return f"{name}: {error}" if name else str(error)
    except TypeError:  # a required argument is missing, or its value is not known
        return None
    return None


def _suggestion(name: object, known: list[str] | tuple[str, ...]) -> str:
    near = get_close_matches(str(name), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
