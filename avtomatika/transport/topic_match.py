"""Binding patterns of topic exchanges, as AMQP means them."""

from __future__ import annotations

from collections.abc import Sequence


def matches(pattern: str, routing_key: str) -> bool:
    """Whether *routing_key* fits *pattern*: ``*`` is one word, ``#`` any number of them, none included.

    >>> matches("a.#", "a"), matches("a.*", "a"), matches("#.c", "a.b.c")
    (True, False, True)
    """
    return _fits(pattern.split("."), routing_key.split(".") if routing_key else [])


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Row by row over the pattern: ``reach[i]`` tells whether what came so far can stand for the first *i* words."""
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
