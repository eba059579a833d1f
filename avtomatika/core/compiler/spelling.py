"""Recognizes a misspelt name: a character lost, doubled, added or swapped, or words joined differently."""

from collections.abc import Iterable
from difflib import get_close_matches

#: From this length on, one wrong letter is a typo; in shorter names it is another word (content, context).
_LONG = 10


def intended_name(name: str, known: Iterable[str]) -> str | None:
    """Return the name in *known* that *name* misspells, or None.

    >>> known = ["initial_data", "error", "context"]
    >>> [intended_name(name, known) for name in ("intial_data", "initialData", "erorr")]
    ['initial_data', 'initial_data', 'error']
    >>> [intended_name(name, known) for name in ("errors", "content", "data")]
    [None, None, None]
    """
    return next((word for word in known if _is_slip(name, word)), None)


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return a hint for the unknown *name*: the most similar one in *known*, or all of them.

    >>> suggestion("prams", ["params"]), suggestion("x", ["params", "priority"])
    ("did you mean 'params'?", 'known are params, priority')
    """
    names = list(known)
    near = get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def _is_slip(name: str, word: str) -> bool:
    if name == word or name.rstrip("s") == word.rstrip("s"):  # the plural is a different name
        return False
    if _joined(name) == _joined(word):
        return True
    start = next((place for place, pair in enumerate(zip(name, word, strict=False)) if len(set(pair)) == 2), None)
    if start is None:
        return abs(len(name) - len(word)) == 1
    rest, wanted = name[start:], word[start:]
    return (
        rest == wanted[1:]
        or rest[1:] == wanted
        or (rest[:2] == wanted[:2][::-1] and rest[2:] == wanted[2:])
        or (rest[1:] == wanted[1:] and len(word) >= _LONG)
    )


def _joined(name: str) -> str:
    return name.replace("_", "").lower()
