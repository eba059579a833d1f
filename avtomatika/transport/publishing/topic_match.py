"""AMQP's binding patterns for topic exchanges."""

from collections.abc import Sequence


def matches(pattern: str, routing_key: str) -> bool:
    """Return whether *routing_key* matches *pattern*: ``*`` matches one word, ``#`` zero or more words.

    >>> matches("a.#", "a"), matches("a.*", "a"), matches("#.c", "a.b.c")
    (True, False, True)
    """
    return _fits(pattern.split("."), routing_key.split(".") if routing_key else [])


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Match part by part: ``reach[i]`` says whether the parts so far match the first *i* words."""
    reach = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = reach.index(True) if True in reach else len(reach)
            reach = [index >= first for index in range(len(reach))]
        else:
            step = [False]
            step += [before and part in ("*", word) for before, word in zip(reach, words, strict=False)]
            reach = step
    return reach[-1]
