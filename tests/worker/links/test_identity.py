"""Contents and frequency of heartbeats."""

from __future__ import annotations

from avtomatika.addresses import Address, Mode
from avtomatika.worker.links.identity import Identity, WorkerStatus
from avtomatika.worker.links.scheduler import LinkScheduler


def presence_of(held: list[str]) -> WorkerStatus:
    scheduler = LinkScheduler(Mode.FAILOVER, [Address("redis://localhost")], capacity=2)
    return WorkerStatus(Identity(worker_id="w-1", skills={}), scheduler, 0, cached_digests=lambda: tuple(held))


def test_cached_digests_are_sent_on_changes_and_after_registration() -> None:
    held: list[str] = []
    worker_status = presence_of(held)
    told = []

    def tell() -> None:
        told.append(worker_status.heartbeat().get("holds"))

    tell()
    held.append("aa")
    tell()
    tell()
    held.insert(0, "bb")
    tell()
    held.reverse()
    tell()
    worker_status.mark_registered()
    tell()
    held.clear()
    tell()

    assert told == [None, ["aa"], None, ["bb", "aa"], None, ["aa", "bb"], []]
