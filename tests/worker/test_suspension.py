"""A worker with suspended skills takes no tasks of them until a probe succeeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event

import pytest

from avtomatika.errors import TransientError
from avtomatika.worker import suspension
from avtomatika.worker.suspension import SkillSuspension

DEADLINE_SECONDS = 20
FAULT = {"code": "TRANSIENT_ERROR", "message": "access denied", "worker_fault": {"probe": {"check": "read"}}}


class Keys:
    """Rejected until *mended*; each probe sets *probed*."""

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
def worker(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[SkillSuspension]:
    monkeypatch.setattr(suspension, "_FIRST_SECONDS", 0.02)
    worker = SkillSuspension(keys.check)
    yield worker
    worker.close()


def test_a_fault_suspends_its_skill_until_a_probe_succeeds(worker: SkillSuspension, keys: Keys) -> None:
    worker.record_fault("encode", FAULT)

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
def test_other_failures_suspend_nothing(worker: SkillSuspension, error: Mapping[str, object]) -> None:
    worker.record_fault("encode", error)

    assert worker.suspended == frozenset()
    assert worker.report() is None


def test_a_fault_of_another_kind_suspends_its_own_skill(worker: SkillSuspension) -> None:
    worker.record_fault("encode", FAULT)
    worker.record_fault("cut", {"message": "no room", "worker_fault": {"probe": {"check": "disk"}}})

    assert worker.suspended == {"encode", "cut"}
