"""``F``: conditions on a job that read like Python, as in ``F.initial_data["quality"] == "low"``.

A condition is a value that can be evaluated (``holds``) and printed (``str``). It does not hold if its value is missing
or cannot be compared; it never raises while a job runs.
"""

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

#: Attributes of the job context that conditions can use.
ROOTS = ("initial_data", "job_data", "state_history", "client", "job_id", "current_state", "error", "tracing_context")
#: The current item inside ``any_`` and ``all_``.
ITEM = "item"

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, choices: value in choices,
    "matches": lambda value, pattern: pattern.search(value) is not None,
}


class Condition:
    """A predicate on a job context. Combine with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def holds(self, context: object) -> bool:
        """Return True if the condition holds for *context*, a JobContext."""
        raise TypeError(f"{type(self).__name__} cannot be evaluated")

    @property
    def asks_for_item(self) -> bool:
        """True if the condition uses ``F.item`` outside ``any_`` and ``all_``, where it has no value."""
        return any(path[0] == ITEM for path in fields_of(self, of_items=False))

    def __and__(self, other: "Condition") -> "Condition":
        return _Both(self, _condition(other), "and")

    def __or__(self, other: "Condition") -> "Condition":
        return _Both(self, _condition(other), "or")

    def __invert__(self) -> "Condition":
        return _Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"the condition ({self}) is evaluated while a job runs, not here: write & | ~ instead of and, or, not, "
            "put each comparison in parentheses, and split a < b < c into two"
        )


def _comparing(word: str) -> Callable[["Field", object], Condition]:
    return lambda field, other: _Comparison(field, word, other)


class Field:
    """A value in the job context. Go deeper with ``["key"]``, ``[0]`` or ``.key``; compare it to get a condition."""

    __slots__ = ("_path",)

    def __init__(self, path: tuple[str | int, ...]) -> None:
        self._path = path

    def __getitem__(self, key: str | int) -> "Field":
        return Field((*self._path, key))

    def __getattr__(self, name: str) -> "Field":
        if name.startswith("_"):
            raise AttributeError(name)
        return Field((*self._path, name))

    # Annotated Any: a Condition, where object's own == and != promise a bool.
    def __eq__(self, other: object) -> Any:
        return _Comparison(self, "==", other)

    def __ne__(self, other: object) -> Any:
        return _Comparison(self, "!=", other)

    __lt__ = _comparing("<")
    __le__ = _comparing("<=")
    __gt__ = _comparing(">")
    __ge__ = _comparing(">=")

    def in_(self, choices: Collection[object]) -> Condition:
        """The value is one of *choices*."""
        if isinstance(choices, str) or not isinstance(choices, Collection):
            raise TypeError(f"{self}.in_(...) takes a list, a tuple or a set, not {choices!r}")
        return _Comparison(self, "in", choices)

    def matches(self, pattern: str) -> Condition:
        """The value is text that contains a match of the regular expression; anchor it with ``^`` and ``$``."""
        return _Comparison(self, "matches", re.compile(pattern))

    def any_(self, condition: Condition) -> Condition:
        """The value is a list, and *condition* (on ``F.item``) holds for at least one item."""
        return _OverList(self, "any", _condition(condition))

    def all_(self, condition: Condition) -> Condition:
        """The value is a list, and *condition* (on ``F.item``) holds for all items; true for an empty list."""
        return _OverList(self, "all", _condition(condition))

    def __hash__(self) -> int:
        return hash(self._path)

    def __str__(self) -> str:
        shown = self._path[1:] if self._path[0] in ("initial_data", "job_data", "state_history") else self._path
        return ".".join(str(key) for key in shown or self._path)

    def __repr__(self) -> str:
        return f"F.{self._path[0]}" + "".join(f"[{key!r}]" for key in self._path[1:])

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no value before a job runs: compare it, for example {self!r} == True")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"'in' cannot be evaluated later: write {self!r}.in_([...]) or {self!r}.matches(...)")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no items before a job runs")


class _Roots:
    """The class of ``F``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Field:
        if name not in ROOTS and name != ITEM:
            raise AttributeError(f"F has no {name!r}; it has {', '.join(ROOTS)}, and {ITEM} inside any_ and all_")
        return Field((name,))


F = _Roots()


def value_at(field: Field, context: object) -> object:
    """Return the value of *field* in *context*. Raise LookupError or AttributeError if it is missing."""
    value: Any = context
    for key in field._path:
        is_item = isinstance(value, Mapping) or (isinstance(key, int) and isinstance(value, Sequence))
        value = value[key] if is_item else getattr(value, str(key))
    return value


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison(Condition):
    field: Field
    word: str
    other: object

    def holds(self, context: object) -> bool:
        try:
            other = value_at(self.other, context) if isinstance(self.other, Field) else self.other
            return bool(_OPERATORS[self.word](value_at(self.field, context), other))
        except (LookupError, AttributeError, TypeError):
            return False

    def __str__(self) -> str:
        return f"{self.field} {self.word} {_label(self.other)}"


@dataclass(frozen=True, slots=True, eq=False)
class _Both(Condition):
    left: Condition
    right: Condition
    word: str

    def holds(self, context: object) -> bool:
        if self.word == "and":
            return self.left.holds(context) and self.right.holds(context)
        return self.left.holds(context) or self.right.holds(context)

    def __str__(self) -> str:
        return f"{self._side(self.left)} {self.word} {self._side(self.right)}"

    def _side(self, side: Condition) -> str:
        return f"({side})" if isinstance(side, _Both) and side.word != self.word else str(side)


@dataclass(frozen=True, slots=True, eq=False)
class _Not(Condition):
    inner: Condition

    def holds(self, context: object) -> bool:
        return not self.inner.holds(context)

    def __str__(self) -> str:
        return f"not ({self.inner})"


@dataclass(frozen=True, slots=True, eq=False)
class _OverList(Condition):
    field: Field
    word: str
    inner: Condition

    def holds(self, context: object) -> bool:
        try:
            items = value_at(self.field, context)
        except (LookupError, AttributeError, TypeError):
            items = None
        if not isinstance(items, Sequence) or isinstance(items, str):
            return False
        answers = (self.inner.holds(_WithItem(context, item)) for item in items)
        return any(answers) if self.word == "any" else all(answers)

    def __str__(self) -> str:
        return f"{self.word} of {self.field} ({self.inner})"


@dataclass(frozen=True, slots=True)
class _WithItem:
    """A job context in which ``item`` is one item of a list."""

    _context: object
    item: object

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def fields_of(condition: Condition, *, of_items: bool = True) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value that *condition* uses; *of_items* includes conditions on the items of lists."""
    for name in getattr(condition, "__dataclass_fields__", ()):
        match getattr(condition, name):
            case Field() as value:
                yield value._path
            case Condition() as inner if of_items or not isinstance(condition, _OverList):
                yield from fields_of(inner, of_items=of_items)


def _condition(value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    raise TypeError(f"{value!r} is not a condition: put each comparison in parentheses, (F.a.x == 1) & (F.a.y == 2)")


def _label(value: object) -> str:
    match value:
        case Field():
            return str(value)
        case re.Pattern():
            return repr(value.pattern)
        case set() | frozenset():
            return f"{{{', '.join(sorted(map(repr, value)))}}}"
        case _:
            return repr(value)
