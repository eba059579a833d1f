"""Finds a path through a handler that takes no action.

A path is reported only if the source does not suggest that it is impossible: conditions that depend on one another,
calls that may raise, and loops that may run are assumed to be correct.
"""

import ast
import builtins
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

#: Pairs of complementary comparisons.
_OPPOSITES: tuple[tuple[type[ast.cmpop], type[ast.cmpop]], ...] = (
    (ast.Eq, ast.NotEq),
    (ast.Lt, ast.GtE),
    (ast.Gt, ast.LtE),
    (ast.In, ast.NotIn),
    (ast.Is, ast.IsNot),
)
#: Builtin functions whose call does not end the path.
_HARMLESS = frozenset({"print", "setattr", "delattr"})
#: Methods of loggers.
_LOGS = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log"})


@dataclass(frozen=True, slots=True)
class _Path:
    """A path without an action up to *line*.

    *asked* are the names in its conditions. *is_open* if it passed a statement that takes an action on another path.
    *is_doubtful* if it may be impossible.
    """

    line: int
    asked: frozenset[str] = frozenset()
    is_open: bool = False
    is_doubtful: bool = False


def undecided_line(
    definition: ast.FunctionDef | ast.AsyncFunctionDef, is_action: Callable[[ast.AST], bool]
) -> int | None:
    """Return the line where a path of *definition* ends that certainly takes no action; None if there is none."""
    flow = _Flow(definition, is_action)
    ends = [*flow.block(definition.body, [_Path(definition.lineno)]), *flow.returned]
    return min((path.line for path in ends if not path.is_doubtful), default=None)


class _Flow:
    """Follows all paths that have taken no action."""

    def __init__(self, definition: ast.AST, is_action: Callable[[ast.AST], bool]) -> None:
        self.returned: list[_Path] = []
        self._is_action = is_action
        self._varying = _varying(definition)

    def block(self, statements: Sequence[ast.stmt], paths: list[_Path]) -> list[_Path]:
        """Return the *paths* after *statements*."""
        for statement in statements:
            if not paths:
                break
            paths = self._after(statement, paths)
        return paths

    def _after(self, statement: ast.stmt, paths: list[_Path]) -> list[_Path]:
        match statement:
            case ast.If():
                return self._choice(statement, _arms(statement), paths)
            case ast.Match(cases=cases):
                return self._choice(statement, [(each.guard, each.body) for each in cases], paths)
            case ast.With(body=body) | ast.AsyncWith(body=body):
                return [] if self._acts(statement.items) else self.block(body, paths)
            case ast.Try() | ast.TryStar():
                return self._attempt(statement, paths)
            case ast.For() | ast.AsyncFor() | ast.While():
                return self._loop(statement, paths)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return paths
            case _ if self._acts([statement]):
                return []
            case ast.Raise() | ast.Break() | ast.Continue():
                return []
            case ast.Return():
                self.returned += [replace(path, line=statement.lineno) for path in paths]
                return []
            case ast.Assert(test=test):
                return [replace(path, asked=path.asked | _names(test), is_doubtful=True) for path in paths]
            case ast.Expr(value=value) if _may_raise(value):
                return [replace(path, is_doubtful=True) for path in paths]
            case _:
                return paths

    def _choice(
        self, statement: ast.If | ast.Match, arms: list[tuple[ast.expr | None, list[ast.stmt]]], paths: list[_Path]
    ) -> list[_Path]:
        tests = [test for test, _ in arms if test is not None]
        subject = [statement.subject] if isinstance(statement, ast.Match) else []
        if self._acts([*tests, *subject]):
            return []
        asked = _names(*tests, *subject)
        acts = self._acts([statement])
        entered = [self._asked(path, asked, acts=acts, line=statement.lineno) for path in paths]
        after: list[_Path] = []
        for _, body in arms:
            after += self.block(body, entered)
        if not _is_exhaustive(statement, arms):
            after += entered
        return [replace(path, is_open=path.is_open or acts) for path in after] if acts else after

    def _asked(self, path: _Path, asked: frozenset[str], *, acts: bool, line: int) -> _Path:
        """Return *path* inside a statement with a condition on *asked*. A second condition on a name may contradict the
        first."""
        is_doubtful = path.is_doubtful or path.is_open or bool(asked & (path.asked | self._varying))
        return replace(path, asked=path.asked | asked, is_doubtful=is_doubtful, line=line if acts else path.line)

    def _attempt(self, statement: ast.Try | ast.TryStar, paths: list[_Path]) -> list[_Path]:
        """Handle a try statement. The body may be left anywhere, but then the action of its last statement was not
        taken."""
        if self._acts(statement.finalbody):
            return self.block(statement.finalbody, paths)
        acts_early = self._acts(statement.body[:-1])
        after = self.block([*statement.body, *statement.orelse], paths)
        for handler in statement.handlers:
            after += self.block(
                handler.body, [replace(path, is_doubtful=path.is_doubtful or acts_early) for path in paths]
            )
        return self.block(statement.finalbody, after)

    def _loop(self, statement: ast.For | ast.AsyncFor | ast.While, paths: list[_Path]) -> list[_Path]:
        """Handle a loop. One that takes actions is assumed to run at least once."""
        if self._acts([statement]):
            return [] if not _leaves(statement) else [replace(path, is_doubtful=True) for path in paths]
        self.block(statement.body, [replace(path, is_doubtful=True) for path in paths])
        is_endless = isinstance(statement, ast.While) and isinstance(statement.test, ast.Constant)
        return [] if is_endless and not _leaves(statement) else self.block(statement.orelse, paths)

    def _acts(self, nodes: Iterable[ast.AST]) -> bool:
        return any(self._is_action(inner) for node in nodes for inner in ast.walk(node))


def _arms(statement: ast.If) -> list[tuple[ast.expr | None, list[ast.stmt]]]:
    """Return the branches of an if statement, including elif and else."""
    arms: list[tuple[ast.expr | None, list[ast.stmt]]] = [(statement.test, statement.body)]
    match statement.orelse:
        case []:
            return arms
        case [ast.If() as nested]:
            return arms + _arms(nested)
        case body:
            return [*arms, (None, body)]


def _is_exhaustive(statement: ast.If | ast.Match, arms: list[tuple[ast.expr | None, list[ast.stmt]]]) -> bool:
    """Return True if one of *arms* is always taken, as far as can be known; named values are assumed to be complete."""
    if isinstance(statement, ast.Match):
        names_values = (ast.MatchClass, ast.MatchSingleton, ast.Attribute)
        nodes = (node for case in statement.cases for node in ast.walk(case.pattern))
        return any(_is_any(case) for case in statement.cases) or any(isinstance(node, names_values) for node in nodes)
    tests = [test for test, _ in arms if test is not None]
    if len(tests) < len(arms) or any(isinstance(test, ast.Constant) for test in tests):
        return True
    compared = [node for test in tests for node in ast.walk(test) if isinstance(node, ast.Compare)]
    if len(tests) > 1 and any(isinstance(other, ast.Attribute) for node in compared for other in node.comparators):
        return True
    return any(_are_opposite(a, b) for a in tests for b in tests)


def _is_any(case: ast.match_case) -> bool:
    pattern = case.pattern
    patterns = pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]
    return case.guard is None and any(isinstance(each, ast.MatchAs) and each.pattern is None for each in patterns)


def _are_opposite(first: ast.expr, second: ast.expr) -> bool:
    match first, second:
        case ast.UnaryOp(op=ast.Not(), operand=operand), _:
            return ast.dump(operand) == ast.dump(second)
        case ast.Compare(ops=[one], comparators=[value]), ast.Compare(ops=[other], comparators=[same]):
            same_sides = (ast.dump(first.left), ast.dump(value)) == (ast.dump(second.left), ast.dump(same))
            return same_sides and any(isinstance(one, a) and isinstance(other, b) for a, b in _OPPOSITES)
        case _:
            return False


def _leaves(loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Return True if *loop* contains a break or return."""
    return any(isinstance(node, ast.Break | ast.Return) for node in ast.walk(loop))


def _may_raise(value: ast.expr) -> bool:
    """Return True if a statement that is only *value* may end the path: a call of a user's function."""
    call = value.value if isinstance(value, ast.Await) else value
    match call:
        case ast.Call(func=ast.Name(id=name)):
            return name not in _HARMLESS and not hasattr(builtins, name)
        case ast.Call(func=ast.Attribute(attr=method)):
            return method not in _LOGS and not hasattr(list, method) and not hasattr(dict, method)
        case _:
            return False


def _names(*nodes: ast.AST) -> frozenset[str]:
    return frozenset(inner.id for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _varying(definition: ast.AST) -> frozenset[str]:
    """Return names that are assigned one of several values: conditions on them may cover all values."""
    found: set[str] = set()
    stored: set[str] = set()
    for node in ast.walk(definition):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                (found if name in stored else stored).add(name)
            case ast.Assign(targets=targets) if any(isinstance(inner, ast.IfExp) for inner in ast.walk(node.value)):
                found.update(target.id for target in targets if isinstance(target, ast.Name))
    return frozenset(found)
