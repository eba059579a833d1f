"""Evaluates expressions in a handler's source without running them: literals, constants, and choices among them."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from inspect import ismodule, unwrap
from typing import Any

from avtomatika.core.blueprint.handler import Function

#: The possible values of an expression; None if they are computed at run time.
Values = tuple[object, ...] | None


class Scope:
    """The names in a handler: its locals, its closure and its module."""

    def __init__(self, function: Function, definition: ast.AST) -> None:
        plain: Any = unwrap(function)
        self._own_names = {*plain.__code__.co_varnames, *plain.__code__.co_cellvars}
        self._own_names.update(  # includes comprehensions
            node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
        self._assigned = _assignments(definition)
        self._globals: Mapping[str, object] = plain.__globals__
        self._closure = dict(_closure(plain))

    def values(self, node: ast.expr) -> Values:
        """Return all possible values of *node*, or None if they are computed.

        >>> scope = Scope(lambda: None, ast.parse(""))
        >>> scope.values(ast.parse("'low' if small else 'high'", mode="eval").body)
        ('low', 'high')
        >>> scope.values(ast.parse("choose()", mode="eval").body) is None
        True
        """
        try:
            return tuple(self._constant(choice) for choice in self.choices(node))
        except LookupError:
            return None

    def choices(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> tuple[ast.expr, ...]:
        """Return the expressions that *node* can be, with conditional expressions and local names resolved, except
        those already *seen*."""
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                return self.choices(body, seen) + self.choices(orelse, seen)
            case ast.Name(id=name) if name in self._assigned and name not in seen:
                assigned = self._assigned[name]
                return tuple(choice for value in assigned for choice in self.choices(value, seen | {name}))
            case _:
                return (node,)

    def _constant(self, node: ast.expr) -> object:
        """Return the value of a constant. Raise LookupError for any other node."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) if name not in self._own_names:
                return self._closure[name] if name in self._closure else self._globals[name]
            case ast.Attribute(value=owner, attr=attribute):
                return _attribute(self._constant(owner), attribute)
            case _:
                raise LookupError(ast.unparse(node))


def _attribute(owner: object, name: str) -> object:
    """Return an attribute of a module or a class (such as an enum); any other attribute may be computed."""
    if (ismodule(owner) or isinstance(owner, type)) and hasattr(owner, name):
        return getattr(owner, name)
    raise LookupError(name)


def _closure(function: Any) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _assignments(definition: ast.AST) -> dict[str, list[ast.expr]]:
    """Return names that are assigned only by ``name = ...``, with all their values."""
    values: dict[str, list[ast.expr]] = defaultdict(list)
    changes: dict[str, int] = defaultdict(int)
    for node in ast.walk(definition):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                values[name].append(value)
                changes[name] -= 1
        for name in _changed_names(node):
            changes[name] += 1
    return {name: found for name, found in values.items() if changes[name] == 0}


def _changed_names(node: ast.AST) -> tuple[str, ...]:
    """Return names whose value changes at *node*, by assignment or by mutation."""
    match node:
        case (
            ast.Name(id=name, ctx=ast.Store() | ast.Del())
            | ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
            | ast.Attribute(value=ast.Name(id=name))
        ):
            return (name,)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return tuple(names)
        case ast.arg(arg=name):
            return (name,)
        case _:
            return ()
