"""Finds invalid names and values in a handler's source: arguments, keys of tasks, attributes, injected names."""

import ast
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Self

from avtomatika.core.blueprint.actions import ACTIONS, Actions
from avtomatika.core.blueprint.conditions import fields_of
from avtomatika.core.blueprint.handler import Handler
from avtomatika.core.blueprint.job_context import INJECTED, ClientInfo, JobContext
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.value_types import annotation_of, object_type

from .call_checks import Arguments, entry_of, invalid_branch, invalid_construction, invalid_values
from .spelling import intended_name, suggestion
from .static_values import Scope

#: A line of the file and the message.
Mistake = tuple[int, str]
_Definition = ast.FunctionDef | ast.AsyncFunctionDef

#: Attributes of injected values whose type is fixed.
_ATTRIBUTES = {
    "context": frozenset({*INJECTED, *(name for name in dir(JobContext) if not name.startswith("_"))}),
    "client": frozenset(inspect.signature(ClientInfo).parameters),
}
#: Methods that only add to a list.
_LIST_METHODS = frozenset({"append", "extend", "insert"})
_DATA = "initial_data"


@dataclass(frozen=True, slots=True)
class Mistakes:
    """*names* do not exist; *values* are missing or invalid."""

    names: tuple[Mistake, ...] = ()
    values: tuple[Mistake, ...] = ()


def check_source(
    definition: _Definition,
    scope: Scope,
    parameters: Iterable[str],
    is_actions: Callable[[ast.expr], bool],
    file: ast.AST,
) -> Mistakes:
    """Return the mistakes in *definition*, a function of *file* that is called with *parameters*."""
    checker = _Checker(scope, definition, frozenset(parameters), is_actions)
    for statement in definition.body:
        checker.visit(statement)
    names = [*_misspelt_parameters(definition, checker, file), *checker.names]
    return Mistakes(tuple(names), tuple(checker.values))


class _Checker(ast.NodeVisitor):
    def __init__(
        self, scope: Scope, definition: _Definition, parameters: frozenset[str], is_actions: Callable[[ast.expr], bool]
    ) -> None:
        self.names: list[Mistake] = []
        self.values: list[Mistake] = []
        self.parameters = parameters
        self._scope = scope
        self._is_actions = is_actions
        self.uses = _Uses.of(definition)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(value=owner, attr=method) if self._is_actions(owner) and method in ACTIONS:
                self._check_action(node, method)
            case _ if self._scope.values(node.func) == (RetryPolicy,):
                self._note(self.names, node, invalid_construction(node, RetryPolicy, self._scope))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        match node.value:
            case ast.Name(id=name) if name in _ATTRIBUTES and name in self.parameters - self.uses.changed:
                known = _ATTRIBUTES[name]
                if node.attr not in known and not node.attr.startswith("_"):
                    hint = suggestion(node.attr, sorted(known))
                    self._note(self.names, node, f"{name} has no {node.attr!r}; {hint}")
        self.generic_visit(node)

    def _skip(self, node: ast.AST) -> None:
        """Skip inner functions, which have their own names."""

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _skip

    def _check_action(self, node: ast.Call, method: str) -> None:
        arguments = Arguments(node, getattr(Actions, method), self._scope)
        self._note(self.names, node, arguments.misspelt(method))
        self._note(self.values, node, arguments.missing(method))
        self._note(self.values, node, invalid_values(arguments, method))
        if (items := {"dispatch_parallel": "tasks", "run_blueprints": "blueprints"}.get(method)) is not None:
            self._check_branches(arguments.by_name, method, items)

    def _check_branches(self, arguments: Mapping[str, ast.expr], method: str, items: str) -> None:
        aggregators = self._values(arguments.get("aggregate_into"))
        for branch in self._dicts(arguments.get(items)):
            self._note(self.names, branch, invalid_branch(branch, method))
            transitions = entry_of(branch, "transitions")
            target = entry_of(transitions, "success") if isinstance(transitions, ast.Dict) else None
            elsewhere = set(self._values(target)) - set(aggregators)
            if target is not None and aggregators and elsewhere:
                message = (
                    f"'success' of a branch of {method} leads to {elsewhere.pop()!r}, "
                    f"but must lead to the aggregator {aggregators[0]!r}: remove it"
                )
                self._note(self.values, target, message)

    def _dicts(self, node: ast.expr | None, seen: frozenset[str] = frozenset()) -> Iterator[ast.Dict]:
        """Yield the dicts of *node* (tasks, or one task) that are written in this function."""
        match node:
            case ast.Dict():
                yield node
            case ast.List(elts=items) | ast.Tuple(elts=items):
                for item in items:
                    yield from self._dicts(item, seen)
            case ast.ListComp(elt=item) | ast.GeneratorExp(elt=item) | ast.Starred(value=item):
                yield from self._dicts(item, seen)
            case ast.BinOp(left=left, op=ast.Add() | ast.BitOr(), right=right) | ast.IfExp(body=left, orelse=right):
                yield from self._dicts(left, seen)
                yield from self._dicts(right, seen)
            case ast.Call(func=ast.Name(id="list" | "tuple"), args=[items], keywords=[]):
                yield from self._dicts(items, seen)
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
                names = [None if each.arg is None else ast.Constant(each.arg) for each in keywords]
                yield ast.copy_location(ast.Dict([*names], [each.value for each in keywords]), node)
            case ast.Name(id=name) if name not in seen:
                for value in self.uses.written.get(name, ()):
                    yield from self._dicts(value, seen | {name})

    def _values(self, node: ast.expr | None) -> tuple[object, ...]:
        """Return the possible values of *node*; nothing if they are computed."""
        return (node is not None and self._scope.values(node)) or ()

    @staticmethod
    def _note(mistakes: list[Mistake], node: ast.expr, message: str | None) -> None:
        if message is not None:
            mistakes.append((node.lineno, message))


@dataclass(frozen=True, slots=True)
class _Uses:
    """Names that are reassigned (*changed*), and names whose whole content is *written* in the source."""

    changed: frozenset[str]
    written: dict[str, list[ast.expr]] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: _Definition) -> Self:
        written: dict[str, list[ast.expr]] = {}
        plain: set[ast.expr] = set()
        for node in ast.walk(definition):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name) as target], value=ast.expr() as value)
                    | ast.AnnAssign(target=ast.Name(id=name) as target, value=ast.expr() as value)
                    | ast.AugAssign(target=ast.Name(id=name) as target, op=ast.Add() | ast.BitOr(), value=value)
                ):
                    written.setdefault(name, []).append(value)
                    plain.add(target)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name) as target, attr=method), args=[*_, value]) if (
                    method in _LIST_METHODS
                ):
                    written.setdefault(name, []).append(value)
                    plain.add(target)
                case ast.Call(func=ast.Attribute(attr="dispatch_parallel" | "run_blueprints")):
                    given = [*node.args, *(keyword.value for keyword in node.keywords)]
                    plain.update(each for each in given if isinstance(each, ast.Name))
                    plain.update(item for each in given if isinstance(each, ast.List) for item in each.elts)
                case ast.Call(func=ast.Name(id="len"), args=[ast.Name() as target]):
                    plain.add(target)
                case ast.If(test=ast.Name() as target) | ast.If(test=ast.UnaryOp(operand=ast.Name() as target)):
                    plain.add(target)
        names = [node for node in ast.walk(definition) if isinstance(node, ast.Name)]
        plain.update(value for values in written.values() for value in values if isinstance(value, ast.Name))
        otherwise = {node.id for node in names if node not in plain}
        changed = frozenset(node.id for node in names if isinstance(node.ctx, ast.Store | ast.Del))
        return cls(changed, {name: values for name, values in written.items() if name not in otherwise})


def _misspelt_parameters(definition: _Definition, checker: _Checker, file: ast.AST) -> Iterator[Mistake]:
    """Yield parameters that resemble an injected name, unless the file has data of that name."""
    arguments = (*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs)
    called = {
        node.func.value.id
        for node in ast.walk(definition)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ACTIONS
        and isinstance(node.func.value, ast.Name)
    }
    texts: set[Any] = {node.value for node in ast.walk(file) if isinstance(node, ast.Constant)}
    for argument in arguments:
        name = argument.arg
        if name in INJECTED or name not in checker.parameters or name in checker.uses.changed:
            continue
        wanted = "actions" if name in called and "actions" not in checker.parameters else intended_name(name, INJECTED)
        if wanted is not None and wanted not in checker.parameters and name not in texts:
            yield argument.lineno, f"its parameter {name!r} is not injected; did you mean {wanted!r}?"


def unknown_inputs(input_type: Any, handler: Handler, source: ast.AST) -> Iterator[Mistake]:
    """Yield the mistakes in the guard of *handler* and in *source*, its function, for data of *input_type*."""
    keys = _keys(input_type)
    if keys is not None and handler.guard is not None:
        for path in fields_of(handler.guard):
            if path[0] == _DATA and len(path) > 1 and path[1] not in keys:
                yield handler.line or 0, _message(path[1], keys)
    for node, owner, name, is_attribute in _uses(source):
        known = _attributes(handler) if is_attribute and owner == _DATA else keys
        if known is not None and name not in known and (not is_attribute or owner == _DATA):
            yield node.lineno, _message(name, known)


def _keys(annotation: Any) -> Collection[str] | None:
    """Return the fields of an input type; None if there may be others."""
    schema = {} if annotation is None else object_type(annotation).schema
    return None if "properties" not in schema or schema.get("additionalProperties") else schema["properties"]


def _attributes(handler: Handler) -> Collection[str] | None:
    """Return the attributes of a typed ``initial_data``; None if it is a dict or its type is not known."""
    for parameter in handler.parameters:
        if parameter.name == _DATA and _DATA in handler.data_types:
            annotation = annotation_of(handler.function, parameter)
            if is_dataclass(annotation) or hasattr(annotation, "__pydantic_fields__"):
                fields = {*getattr(annotation, "__dataclass_fields__", ()), *getattr(annotation, "model_fields", ())}
                return fields | set(dir(annotation))
    return None


def _uses(source: ast.AST) -> Iterator[tuple[ast.expr, str, str, bool]]:
    """Yield (node, expression of the data, name, is an attribute) for each read of a field, unless the data change."""
    names = [node for node in ast.walk(source) if isinstance(node, ast.Name) and node.id == _DATA]
    if any(not isinstance(name.ctx, ast.Load) for name in names):
        return
    for node in ast.walk(source):
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str() as name)) if _is_data(owner):
                if not isinstance(node.ctx, ast.Load):
                    return
                yield node, ast.unparse(owner), name, False
            case ast.Call(
                func=ast.Attribute(value=owner, attr="get"), args=[ast.Constant(value=str() as name), *_]
            ) if _is_data(owner):
                yield node, ast.unparse(owner), name, False
            case ast.Attribute(value=owner, attr=name) if _is_data(owner):
                yield node, ast.unparse(owner), name, True


def _is_data(node: ast.expr) -> bool:
    return ast.unparse(node) in (_DATA, f"context.{_DATA}")


def _message(name: object, known: Collection[str]) -> str:
    public = sorted(word for word in known if not word.startswith("_"))
    return f"{_DATA} has no {name!r}; {suggestion(name, public)}"
