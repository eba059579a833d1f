"""A worker that cannot do some of its skills for now: it takes no tasks of them until a probe succeeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event

import pytest

from avtomatika.errors import TransientError
from avtomatika.worker import fitness
from avtomatika.worker.fitness import Fitness

DEADLINE_SECONDS = 20
FAULT = {"code": "TRANSIENT_ERROR", "message": "access denied", "worker_fault": {"probe": {"check": "read"}}}


class Keys:
    """Are refused until they are *mended*; *probed* is set by each probe."""

    def __init__(self) -> None:
        self.mended, self.probed, self.accepted = Event(), Event(), Event()

    def check(self, probe: Mapping[str, str]) -> None:
        assert probe == {"check": "read"}
        self.probed.set()
        if not self.mended.is_set():
            raise TransientError("still refused")
        self.accepted.set()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def worker(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fitness]:
    monkeypatch.setattr(fitness, "_FIRST_SECONDS", 0.02)
    worker = Fitness(keys.check)
    yield worker
    worker.close()


def test_a_fault_suspends_its_skill_until_a_probe_succeeds(worker: Fitness, keys: Keys) -> None:
    worker.note("encode", FAULT)

    assert worker.suspended == {"encode"}
    assert worker.report() == {"reason": "access denied", "skills": ["encode"]}
    assert keys.probed.wait(DEADLINE_SECONDS)
    assert worker.suspended == {"encode"}
    keys.mended.set()
    assert keys.accepted.wait(DEADLINE_SECONDS)
    for _ in range(DEADLINE_SECONDS * 100):
        if not worker.suspended:
            break
        Event().wait(0.01)
    assert worker.report() is None


@pytest.mark.parametrize(
    "error", [{"code": "TRANSIENT_ERROR"}, {"worker_fault": None}, {"worker_fault": {"probe": None}}]
)
def test_other_failures_suspend_nothing(worker: Fitness, error: Mapping[str, object]) -> None:
    worker.note("encode", error)

    assert worker.suspended == frozenset()
    assert worker.report() is None


def test_a_fault_of_another_kind_suspends_its_own_skill(worker: Fitness) -> None:
    worker.note("encode", FAULT)
    worker.note("cut", {"message": "no room", "worker_fault": {"probe": {"check": "disk"}}})

    assert worker.suspended == {"encode", "cut"}
