"""Orchestrators on a real server, run step by step by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from avtomatika import Blueprint
from avtomatika.core.machine import decisions
from avtomatika.core.retry import RetryPolicy
from avtomatika.orchestrator import file_cleanup, loop, sweeps, unreadable_jobs
from avtomatika.orchestrator.webhooks import delivery

from ..support.orchestrators import SHARDS, Stage


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle orchestrators look for due timers all the time, and retry handlers soon."""
    for module in (loop, file_cleanup, delivery):
        monkeypatch.setattr(module, "_IDLE_SECONDS", 0.02)
    monkeypatch.setattr(sweeps, "_TIMERS_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(unreadable_jobs, "_DELAY_SECONDS", 0.1)
    monkeypatch.setattr(decisions, "_HANDLER_RETRIES", RetryPolicy(delay=0.05, jitter=0))


@pytest.fixture
def stage(redis_url: str) -> Iterator[Callable[..., Stage]]:
    """Create a stage for some blueprints, with several *shards* if wanted."""
    made: list[Stage] = []

    def make(*blueprints: Blueprint, shards: int = SHARDS) -> Stage:
        made.append(Stage(redis_url, blueprints, shards=shards))
        return made[-1]

    yield make
    for each in made:
        each.close()
