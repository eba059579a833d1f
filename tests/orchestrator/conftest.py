"""Orchestrators on a real server, run step by step by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from avtomatika import Blueprint

from ..support.orchestrators import Stage


@pytest.fixture
def stage(redis_url: str) -> Iterator[Callable[..., Stage]]:
    """Create a stage for some blueprints."""
    made: list[Stage] = []

    def make(*blueprints: Blueprint) -> Stage:
        made.append(Stage(redis_url, blueprints))
        return made[-1]

    yield make
    for each in made:
        each.close()
