"""What a worker says of itself, and how often."""

from __future__ import annotations

from avtomatika.worker.config import Address, Mode
from avtomatika.worker.links.identity import Identity, WorkerStatus
from avtomatika.worker.links.scheduler import LinkScheduler


def presence_of(held: list[str]) -> WorkerStatus:
    turns = LinkScheduler(Mode.FAILOVER, [Address("redis://localhost")], capacity=2)
    return WorkerStatus(Identity(worker_id="w-1", skills={}), turns, 0, holdings=lambda: tuple(held))


def test_what_it_holds_is_told_when_it_changed_and_when_it_registered_anew() -> None:
    held: list[str] = []
    presence = presence_of(held)
    told = []

    def tell() -> None:
        told.append(presence.heartbeat().get("holds"))

    tell()
    held.append("aa")
    tell()
    tell()
    held.insert(0, "bb")
    tell()
    held.reverse()
    tell()
    presence.registered()
    tell()
    held.clear()
    tell()

    assert told == [None, ["aa"], None, ["bb", "aa"], None, ["aa", "bb"], []]
