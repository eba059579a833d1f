"""Checks the arguments of calls in a handler's source against the signature, and literal values as at run time.

Values that are computed at run time are not checked.
"""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avtomatika.core.blueprint.actions import BRANCH_KEYS, CHILD_KEYS, Actions
from avtomatika.errors import HandlerError

from .spelling import suggestion
from .static_values import Scope

#: Valid values for the required arguments of an action, used in a trial call for those that are not checked here.
_VALID: Mapping[str, Any] = {
    "state": "state",
    "then": "state",
    "aggregate_into": "state",
    "task_type": "task",
    "name": "blueprint",
    "transitions": {"success": "state"},
    "signal": "signal",
    "integration": "integration",
    "message": "message",
    "tasks": (),
    "blueprints": (),
}
#: Arguments whose values the compiler checks itself, with better messages.
_CHECKED_ELSEWHERE = frozenset({*_VALID} - {"integration", "message"})


class Arguments:
    """The arguments of *call*, a call of *function*: nodes *by_name* of their parameters.

    *starred* are those that may contain further ones, as ``ast.Starred``; ``**`` of a dict with known keys is replaced
    by its entries.
    """

    def __init__(self, call: ast.Call, function: Callable[..., Any], scope: Scope) -> None:
        self.parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
        keywords = [each for keyword in call.keywords for each in _expanded(keyword, scope)]
        self.starred = [each for each in call.args if isinstance(each, ast.Starred)]
        self.positional = call.args[: call.args.index(self.starred[0])] if self.starred else call.args
        self.starred += [ast.copy_location(ast.Starred(each.value), each.value) for each in keywords if not each.arg]
        self.keywords = [(each.arg, each.value) for each in keywords if each.arg]
        self.by_name = dict(zip(self._names_by_position(), self.positional, strict=False)) | dict(self.keywords)

    def get(self, name: str) -> ast.expr | None:
        """Return the argument *name*: a starred one if it may contain it, None if it is missing."""
        return self.by_name.get(name) or next(iter(self.starred), None)

    def misspelt(self, name: str) -> str | None:
        """Return a description of an argument that the function, called *name*, does not accept."""
        known, keywords = [each.name for each in self.parameters], [each for each, _ in self.keywords]
        for keyword in keywords:
            if keyword not in known:
                return f"{name} has no argument {keyword!r}; {suggestion(keyword, known)}"
        positional, given = self._names_by_position(), len(self.positional)
        if given > len(positional):
            return f"{name} takes at most {len(positional)} arguments by position, not {given}; give the others by name"
        twice = {*positional[:given]}.intersection(keywords) or {one for one in keywords if keywords.count(one) > 1}
        return f"{name} is given the argument {min(twice)!r} twice" if twice else None

    def missing(self, name: str) -> str | None:
        """Return a description of the required arguments that are missing."""
        required = [each.name for each in self.parameters if each.default is each.empty]
        lacking = [repr(each) for each in required if each not in self.by_name]
        if not lacking or self.starred:
            return None
        return f"{name} needs the argument{'s' if len(lacking) > 1 else ''} {' and '.join(lacking)}"

    def _names_by_position(self) -> list[str]:
        return [each.name for each in self.parameters if each.kind is each.POSITIONAL_OR_KEYWORD]


def invalid_values(arguments: Arguments, method: str) -> str | None:
    """Return the error that an action would raise for its literal arguments; None if it accepts them."""
    names = [each.name for each in arguments.parameters]
    given = {name: node for name, node in arguments.by_name.items() if name in names}
    trial = {name: value for name, value in _VALID.items() if name in names}
    trial |= {name: value for name, node in given.items() if name not in _CHECKED_ELSEWHERE for value in _literal(node)}
    trial |= {"transitions": {"received": "state"}} if method == "wait_for" else {}
    is_whole = not arguments.starred and all(name in trial for name in ("seconds", "until") if name in given)
    if method == "wait" and not is_whole:
        trial["seconds"], trial["until"] = trial.get("seconds") or 1, None
    return _raised(lambda: getattr(Actions, method)(Actions(), **trial))


def invalid_branch(branch: ast.Dict, method: str) -> str | None:
    """Return the error that *method* would raise for a task or a child job written as a dict."""
    is_child = method == "run_blueprints" or entry_of(branch, "blueprint") is not None
    known = CHILD_KEYS if is_child else BRANCH_KEYS
    item: dict[str, Any] = {"blueprint": "blueprint"} if is_child else {"task_type": "task"}
    for key, node in zip(branch.keys, branch.values, strict=True):
        for name in () if key is None else _literal(key):
            if name not in known and (is_child or name != "type"):
                return f"a {'child' if is_child else 'task'} of {method} has no {name!r}; {suggestion(name, known)}"
            if name not in ("type", "blueprint", *_CHECKED_ELSEWHERE):
                item.update((name, value) for value in _literal(node))
            elif name == "transitions" and is_child and isinstance(node, ast.Dict):
                outcomes = [each for outcome in node.keys if outcome is not None for each in _literal(outcome)]
                item["transitions"] = dict.fromkeys(outcomes, "state")
    return _raised(lambda: Actions().dispatch_parallel([item], aggregate_into="state"))


def invalid_construction(call: ast.Call, function: Callable[..., Any], scope: Scope) -> str | None:
    """Return the error in a call of a class of this library, such as ``RetryPolicy``."""
    name, arguments = function.__name__, Arguments(call, function, scope)
    if (problem := arguments.misspelt(name)) is not None:
        return problem
    values = {each: value for each, node in arguments.keywords for value in _literal(node)}
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


def _literal(node: ast.expr) -> Iterator[Any]:
    """Yield the value of *node* if it is a literal."""
    try:
        yield ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return


def _raised(function: Callable[[], object], name: str | None = None) -> str | None:
    try:
        function()
    except (HandlerError, ValueError) as error:
        return f"{name}: {error}" if name else str(error)
    except TypeError:  # a required argument is missing, or its value is not known
        return None
    return None


def entry_of(node: ast.Dict, name: str) -> ast.expr | None:
    """Return the value under the key *name*."""
    pairs = zip(node.keys, node.values, strict=True)
    return next((value for key, value in pairs if isinstance(key, ast.Constant) and key.value == name), None)
