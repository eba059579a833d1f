"""Reads the calls on ``actions`` from a handler's source without running it."""

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from avtomatika.core.blueprint.actions import ACTIONS, Actions
from avtomatika.core.blueprint.handler import Handler

from .call_checks import Arguments, entry_of
from .control_flow import undecided_line
from .source_checks import Mistake, Mistakes, check_source
from .static_values import Scope, Values

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class ActionEdge:
    """A transition in the source. *outcomes* is None for ``go_to`` and ``wait``; the values are unchecked."""

    outcomes: Values
    targets: Values
    line: int


@dataclass(frozen=True, slots=True)
class ActionCall:
    """A call on ``actions``; *edges* is None if all its transitions are computed, () if it has none.

    *names* are the task types that it dispatches, the blueprint that it runs, or the signal that it waits for, of one
    of *schemas* (None without); *children* the blueprints that a fan-out runs. *may_have_more* if some tasks are
    computed and may have further transitions.
    """

    method: str
    line: int
    edges: tuple[ActionEdge, ...] | None = ()
    names: Values = ()
    children: Values = ()
    may_have_more: bool = False
    schemas: Values = (None,)


@dataclass(frozen=True, slots=True)
class SourceReading:
    """*hidden* are (line, reason) of code that hides actions; *undecided_line* is the end of a path without an action,
    None if every path may take one."""

    calls: tuple[ActionCall, ...] = ()
    hidden: tuple[Mistake, ...] = ()
    mistakes: Mistakes = field(default_factory=Mistakes)
    undecided_line: int | None = None


def read(handler: Handler) -> SourceReading | None:
    """Return the actions of *handler*, or None if there is no source."""
    found = definition_of(handler)
    if found is None:
        return None
    file, definition = found
    taken = {parameter.name for parameter in handler.parameters}
    scope = Scope(handler.function, definition)
    reader = _Reader(scope, taken & {"actions", "context"})
    for statement in definition.body:
        reader.visit(statement)
    undecided = undecided_line(definition, reader.is_action) if reader.calls and not reader.hidden else None
    mistakes = check_source(definition, scope, taken, reader.is_actions, file)
    return SourceReading(tuple(reader.calls), tuple(reader.hidden), mistakes, undecided)


def definition_of(handler: Handler) -> tuple[ast.Module, _Definition] | None:
    """Return the parsed file of *handler* and the function in it, or None if there is no source."""
    code = getattr(inspect.unwrap(handler.function), "__code__", None)
    if code is None:
        return None
    try:
        lines, _ = inspect.findsource(code)
        tree = _parsed("".join(lines))  # the whole file, so that its line numbers are those of the nodes
    except (OSError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, _Definition) and node.name == code.co_name:
            first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first_line == code.co_firstlineno:
                return tree, node
    return None


_parsed = lru_cache(maxsize=16)(ast.parse)


class _Reader(ast.NodeVisitor):
    """Collects calls on ``actions``, and every other use of it, which could hide a call."""

    def __init__(self, scope: Scope, watched: set[str]) -> None:
        self.calls: list[ActionCall] = []
        self.hidden: list[tuple[int, str]] = []
        self._scope = scope
        self._watched = watched
        self._nested = False

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and self.is_actions(node.func.value) and not self._nested:
            self.calls.append(self._call(node, node.func.attr))
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.visit(argument)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "context" and not self.is_actions(node):
            return  # context.job_id etc.
        if self.is_actions(node):
            self._hide(node)
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self._watched:
            self._hide(node)

    def _visit_nested(self, node: ast.AST) -> None:
        """Visit an inner function, which may run never, once or later."""
        outside, self._nested = self._nested, True
        self.generic_visit(node)
        self._nested = outside

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_nested

    def is_action(self, node: ast.AST) -> bool:
        """Return True if *node* is a call of an action."""
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=method)):
                return method in ACTIONS and self.is_actions(owner)
            case _:
                return False

    def is_actions(self, node: ast.expr) -> bool:
        """Return True if *node* is the ``actions`` argument of the handler."""
        match node:
            case ast.Name(id="actions"):
                return "actions" in self._watched
            case ast.Attribute(value=ast.Name(id="context"), attr="actions"):
                return "context" in self._watched
            case _:
                return False

    def _hide(self, node: ast.expr) -> None:
        used = "in an inner function" if self._nested else "other than by calling its methods"
        self.hidden.append((node.lineno, f"{ast.unparse(node)} is used {used}"))

    def _call(self, node: ast.Call, method: str) -> ActionCall:
        if method not in ACTIONS:
            return ActionCall(method, node.lineno)
        arguments = Arguments(node, getattr(Actions, method), self._scope)
        match method:
            case "go_to" | "wait":
                return ActionCall(
                    method, node.lineno, self._edge(arguments.get("state" if method == "go_to" else "then"))
                )
            case "dispatch_parallel" | "run_blueprints":
                return self._parallel(method, node.lineno, arguments)
        name = arguments.get({"run_blueprint": "name", "wait_for": "signal"}.get(method, "task_type"))
        edges, schema = self._edges(arguments.get("transitions")), arguments.get("schema")
        schemas = (None,) if method != "wait_for" or schema is None else self._values(schema)
        names = () if name is None else self._values(name)
        return ActionCall(method, node.lineno, edges, names=names, schemas=schemas)

    def _edge(self, target: ast.expr | None) -> tuple[ActionEdge, ...]:
        return () if target is None else (ActionEdge(None, self._values(target), target.lineno),)

    def _parallel(self, method: str, line: int, arguments: Arguments) -> ActionCall:
        """Read tasks and children that are written as dicts; others are checked when the handler runs."""
        aggregator = arguments.get("aggregate_into")
        if aggregator is None:
            return ActionCall(method, line)
        edges = [ActionEdge(("success",), self._values(aggregator), aggregator.lineno)]
        names: list[object] = []
        children: list[object] = []
        items = arguments.get("tasks" if method == "dispatch_parallel" else "blueprints")
        dicts = [] if items is None else list(_dicts_in(self._scope.choices(items)))
        may_have_more = not dicts
        for each in dicts or self._dicts_in_parts(items):
            if (child := entry_of(each, "blueprint")) is not None:
                children.extend(self._values(child) or ())
            else:
                named = entry_of(each, "task_type") or entry_of(each, "type")
                names.extend((named is not None and self._values(named)) or (None,))
            own = self._edges(entry_of(each, "transitions"))
            edges.extend(own or ())
            may_have_more = may_have_more or own is None or None in each.keys
        known = None if None in names or not names else tuple(names)
        return ActionCall(method, line, tuple(edges), known, tuple(children), may_have_more)

    def _dicts_in_parts(self, items: ast.expr | None) -> Iterator[ast.Dict]:
        """Yield the dicts of lists that are joined, as in ``[*tasks, *children]``."""
        for choice in () if items is None else self._scope.choices(items):
            match choice:
                case ast.List(elts=parts) | ast.Tuple(elts=parts):
                    for part in parts:
                        yield from self._dicts_in_parts(part.value) if isinstance(part, ast.Starred) else ()
                case ast.BinOp(left=left, op=ast.Add(), right=right):
                    yield from self._dicts_in_parts(left)
                    yield from self._dicts_in_parts(right)
            yield from _dicts_in([choice])

    def _values(self, node: ast.expr) -> Values:
        return self._scope.values(node)

    def _edges(self, transitions: ast.expr | None) -> tuple[ActionEdge, ...] | None:
        """Return the entries of all dicts that *transitions* can be, or None if one is computed."""
        edges: list[ActionEdge] = []
        for choice in () if transitions is None else self._scope.choices(transitions):
            found = self._entries(choice)
            if found is None:
                return None
            edges.extend(found)
        return tuple(edges)

    def _entries(self, node: ast.expr) -> tuple[ActionEdge, ...] | None:
        if not isinstance(node, ast.Dict):
            values = self._values(node)
            return None if values is None else tuple(edge for value in values for edge in _edges_of(value, node.lineno))
        edges: list[ActionEdge] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # {**others}
                others = self._edges(value)
                outcomes: Values = ()
            else:
                outcomes = self._values(key)
                others = () if outcomes is None else (ActionEdge(outcomes, self._values(value), value.lineno),)
            if outcomes is None or others is None:
                return None
            edges.extend(others)
        return tuple(edges)


def _edges_of(value: object, line: int) -> Iterator[ActionEdge]:
    if not isinstance(value, Mapping):
        yield ActionEdge((value,), (), line)
        return
    for outcome, target in value.items():
        yield ActionEdge((outcome,), (target,), line)


def _dicts_in(choices: Iterable[ast.expr]) -> Iterator[ast.Dict]:
    """Yield the dicts in the lists and comprehensions of *choices*."""
    for choice in choices:
        match choice:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                yield from (item for item in items if isinstance(item, ast.Dict))
            case ast.ListComp(elt=ast.Dict() as item) | ast.GeneratorExp(elt=ast.Dict() as item):
                yield item
            case _:
                pass
