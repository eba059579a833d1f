"""The names and prefixes of shards, and which of them a job belongs to."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from avtomatika.core.shards import choose_shard, shard_names, shard_of, shard_prefixes


@pytest.mark.parametrize("number", [2, 4, 8, 16, 64])
def test_the_slots_of_shards_are_spread_evenly(number: int) -> None:
    slots = sorted(key_slot(f"{prefix}jobs".encode()) for prefix in shard_prefixes("g0", number))
    gaps = [(after - before) % 16_384 for before, after in zip(slots, [*slots[1:], slots[0]], strict=True)]
    assert max(gaps) - min(gaps) <= 64


def test_more_shards_change_nothing_for_those_before() -> None:
    assert shard_prefixes("g0", 16)[:5] == shard_prefixes("g0", 5)
    names, more = shard_names("g0", 4), shard_names("g0", 5)
    chosen = {text: (choose_shard(text, names), choose_shard(text, more)) for text in map(str, range(1000))}
    assert {after for before, after in chosen.values() if before != after} == {"g0_4"}
    assert {before for before, _ in chosen.values()} == set(names)


@pytest.mark.parametrize("group", ["g0", "eu-1", "a_1"])
def test_an_id_names_its_shard(group: str) -> None:
    names = shard_names(group, 12)
    for name in names:
        assert shard_of(f"{name}-01ARZ3NDEKTSV4RRFFQ69G5FAV", names, group) == name
        assert shard_of(f"{name}-01ARZ3NDEKTSV4RRFFQ69G5FAV-3-1.2.0", names, group) == name
    assert shard_of(f"{group}_99-01ARZ3NDEKTSV4RRFFQ69G5FAV", names, group) == group
    assert shard_of("unknown", names, group) == group
