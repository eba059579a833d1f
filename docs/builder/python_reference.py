"""The public names of Python, from their signatures and docstrings.

They are read at run time: methods of the clients are made from operations, which a reader of source would not see.
"""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from types import ModuleType
from typing import Any

from text import docstring, fenced

import avtomatika
from avtomatika import client, errors, testing, transport

#: Characters of a signature on one line.
WIDTH = 90
_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])")
_OBJECT = re.compile(r"<(?:class |function )?'?([\w.]+)[^>]*>")
#: Module -> its public names, each once.
MODULES: dict[ModuleType, list[str]] = {
    avtomatika: [name for name in avtomatika.__all__ if not name.startswith("_")],
    client: [name for name in client.__all__ if name not in avtomatika.__all__],
    testing: testing.__all__,
    errors: [name for name, each in vars(errors).items() if inspect.isclass(each) and name not in avtomatika.__all__],
    transport: ["Transport", "Channel", "Outgoing", "NoRouteError", "MessageTooLargeError"],
}


def python_names() -> str:
    """Return a section for each module, with its public names."""
    return "\n\n".join("\n\n".join(_module(module, names)) for module, names in MODULES.items())


def _module(module: ModuleType, names: list[str]) -> Iterator[str]:
    yield f"## `{module.__name__}`"
    for name in names:
        value = getattr(module, name)
        yield f"### `{name}`"
        if inspect.isclass(value):
            yield from _class(name, value)
        elif inspect.isroutine(value):
            yield from _function(name, value)
        else:
            yield _value(name, value)


def _value(name: str, value: object) -> str:
    """Return the comment above a value, else the docstring of its type, else the value."""
    module = inspect.getmodule(type(value))
    if module is None or not module.__name__.startswith("avtomatika"):
        return f"`{value!r}`"
    comment = re.search(rf"^((?:#: .*\n)+){name}\b", inspect.getsource(module), re.MULTILINE)
    return docstring(type(value).__doc__ if comment is None else comment[1].replace("#: ", ""))


def _class(name: str, value: type) -> Iterator[str]:
    if not issubclass(value, (BaseException, Enum)):
        yield _signature(name, value)
    yield docstring(value.__doc__)
    if value.__init__.__doc__ not in (object.__init__.__doc__, Exception.__init__.__doc__):
        yield docstring(value.__init__.__doc__)
    if issubclass(value, Enum):
        yield ", ".join(f"`{each.value}`" for each in value)
    for member, method in inspect.getmembers(value):
        if not member.startswith("_") and _is_ours(method) and not _is_inherited(value, member):
            yield f"#### `{name}.{member}`"
            if isinstance(method, property):
                yield docstring(method.__doc__)
            else:
                yield from _function(member, method)


def _is_ours(member: object) -> bool:
    function = member.fget if isinstance(member, property) else member
    is_callable = inspect.isroutine(function)
    return is_callable and str(getattr(function, "__module__", "")).startswith("avtomatika")


def _is_inherited(value: type, name: str) -> bool:
    """Return whether a public base class, or Client, documents the member."""
    bases = [base for base in value.__mro__[1:] if base.__name__ in avtomatika.__all__]
    return any(
        hasattr(base, name) for base in (*bases, *([avtomatika.Client] if value is avtomatika.AsyncClient else ()))
    )


def _function(name: str, value: Any) -> Iterator[str]:
    yield _signature(name, value)
    yield docstring(value.__doc__)


def _signature(name: str, value: Any) -> str:
    """Return the signature without ``self`` and without the modules of its types; a long one a parameter a line."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    text = _OBJECT.sub(r"\1", _MODULE.sub("", text)).replace("'", '"')
    if len(text) > WIDTH:
        text = "(\n" + "".join(f"    {each},\n" for each in _split(text[1:-1])) + ")"
    return fenced(f"{name}{text}", "python")


def _split(parameters: str) -> list[str]:
    """Split at the commas that are not inside brackets."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
