"""Limits of tasks on the real server, and who may define which."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from avtomatika.core.limits import LimitValues
from avtomatika.core.shards import shard_prefixes
from avtomatika.errors import ConflictError, NotFoundError
from avtomatika.store import Limits, Store

from .conftest import House

THREE, FAST = LimitValues.of(3), LimitValues.of(None, "100/m")


def record(*skills: dict[str, Any]) -> dict[str, Any]:
    return {"type": "", "version": "", "skills": [{"name": "encode", **skill} for skill in skills]}


@pytest.fixture
def limits(house: House) -> Limits:
    return house.store.limits


def sources(limits: Limits) -> dict[str, tuple[str, int | None]]:
    return {name: (each.source, each.concurrency) for name, each in limits.all().items()}


def test_a_limit_is_defined_changed_and_removed(limits: Limits) -> None:
    first, second = limits.put("skill:encode", THREE), limits.put("skill:encode", FAST)
    limits.remove("skill:encode")

    assert (first.source, first.concurrency, first.rate) == ("api", 3, None)
    assert (second.concurrency, second.rate, second.per_ms) == (None, 100, 60_000)
    assert limits.all() == {}
    with pytest.raises(NotFoundError, match="limit 'skill:encode'"):
        limits.remove("skill:encode")


def test_a_pause_needs_no_limit_and_outlives_one(limits: Limits) -> None:
    paused = limits.set_paused("client:acme", "operator")
    limits.put("client:acme", THREE)
    limits.remove("client:acme")
    still = limits.find("client:acme")
    resumed = limits.set_paused("client:acme")

    assert (paused.paused_by, still.paused_by, resumed.paused_by) == ("operator", "operator", None)
    assert limits.all() == {}


def test_the_file_wins_over_the_api_and_the_api_over_workers(
    house: House, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    house.store.registry.register("one", record({"concurrency": 9}))
    of_worker = sources(limits)
    limits.put("skill:encode", THREE)
    house.store.registry.register("one", record({"concurrency": 9}))
    of_api = sources(limits)
    limits.define("file", {"skill:encode": LimitValues.of(5)}, is_complete=True)
    with pytest.raises(ConflictError, match=r"'skill:encode' is defined in limits\.toml: change it there"):
        limits.put("skill:encode", THREE)
    with pytest.raises(ConflictError, match="change it there"):
        limits.remove("skill:encode")

    assert of_worker == {"skill:encode": ("worker", 9)}
    assert of_api == {"skill:encode": ("api", 3)}
    assert sources(limits) == {"skill:encode": ("file", 5)}
    assert "limit skill:encode: that of the file replaces that of the api" in caplog.text


def test_what_is_no_longer_in_the_file_is_removed(limits: Limits) -> None:
    limits.put("client:acme", THREE)
    limits.define("file", {"skill:encode": THREE, "key:a b": FAST}, is_complete=True)
    limits.define("file", {"key:a b": FAST}, is_complete=True)

    assert sources(limits) == {"client:acme": ("api", 3), "key:a b": ("file", None)}


def test_a_skill_that_is_registered_without_its_limit_has_none(house: House, limits: Limits) -> None:
    house.store.registry.register("one", record({"concurrency": 9, "rate": "5/s"}))
    house.store.registry.register("one", record({}))

    assert limits.all() == {}


@pytest.mark.parametrize("skill", [{"concurrency": 0}, {"rate": "fast"}, {"concurrency": True}, {"rate": 7}])
def test_an_invalid_limit_of_a_worker_is_none(house: House, limits: Limits, skill: dict[str, Any]) -> None:
    house.store.registry.register("one", record(skill))

    assert limits.all() == {}


def test_files_are_announced_when_they_change(limits: Limits) -> None:
    limits.announce()
    limits.read_files = lambda: ({"skill:encode": THREE}, {"acme": 2.0})
    limits.announce()
    first = sources(limits)
    limits.read_files = lambda: ({}, {})
    limits.announce()

    assert (first, sources(limits)) == ({"skill:encode": ("file", 3)}, {})


def test_without_files_nothing_of_theirs_is_removed(limits: Limits) -> None:
    limits.define("file", {"skill:encode": THREE}, is_complete=True)
    limits.announce()

    assert sources(limits) == {"skill:encode": ("file", 3)}


def test_limits_hold_in_every_shard_and_are_restored_in_those_added_later(redis_url: str) -> None:
    prefixes = shard_prefixes("g0", 4)
    names = ["skill:encode", "client:acme"]
    with closing(Store.connect(redis_url, prefixes=prefixes[:2])) as few:
        few.limits.put(names[0], THREE)
        few.limits.set_paused(names[1], "anna")
    with closing(Store.connect(redis_url, prefixes=prefixes)) as many:
        many.limits.move_shares()
        many.limits.set_paused(names[0], "bert")
    shards = [Store.connect(redis_url, prefixes=[prefix]) for prefix in prefixes]
    found = [[shard.limits.find(name) for name in names] for shard in shards]
    for shard in shards:
        shard.close()

    told = [[(limit.concurrency, limit.paused_by, limit.source) for limit in limits] for limits in found]
    assert told == [[(3, "bert", "api"), (None, "anna", "")]] * 4
