"""Markdown of tables and of the text in docstrings and help."""

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc

_ROLE = re.compile(r":\w+:`~?\.?([^`]+)`")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, or nothing if there are no *rows*."""
    lines = [" | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in row) for row in rows]
    if not lines:
        return ""
    return "\n".join(f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *lines)) + "\n"


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def escaped(text: str) -> str:
    """Return *text* without characters that mean something in Markdown or HTML."""
    return re.sub(r"([*`])", r"\\\1", text).replace("<", "&lt;")


def docstring(text: str | None) -> str:
    """Return a docstring as Markdown: roles and double backquotes as code, doctests as blocks."""
    parts = re.split(r"\n\s*\n", cleandoc(text or ""))
    return "\n\n".join(fenced(part, "pycon") if part.startswith(">>>") else _prose(part) for part in parts)


def _prose(text: str) -> str:
    """Escape what is not code: code is at the odd places between backquotes."""
    parts = _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", text)).split("`")
    return "`".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))
