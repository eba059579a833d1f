"""Topic patterns match as in AMQP."""

from __future__ import annotations

import pytest

from avtomatika.transport.publishing.routing import matches


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("a.#", "a"),
        ("a.#", "a.b.c"),
        ("#", ""),
        ("#", "a.b"),
        ("#.b", "b"),
        ("#.b", "a.a.b"),
        ("*.b", "a.b"),
        ("a.#.z", "a.z"),
        ("a.#.z", "a.b.c.z"),
        ("a.*.#", "a.b"),
        ("#.#", "a"),
        ("*", "a"),
    ],
)
def test_a_key_matches(pattern: str, key: str) -> None:
    assert matches(pattern, key)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [("a.*", "a"), ("a.*", "a.b.c"), ("a.#", "b"), ("*", ""), ("*.b", "b"), ("a.*.#", "a"), ("a", "a.b"), ("a.b", "a")],
)
def test_a_key_does_not_match(pattern: str, key: str) -> None:
    assert not matches(pattern, key)
