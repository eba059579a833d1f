"""How a limit is divided among shards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from avtomatika.core.shares import Shares, Use, Values, fair_shares, raise_shares

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
COUNTS = st.integers(0, 12)
TOTALS = st.one_of(
    st.builds(lambda most: {"concurrency": most}, st.integers(1, 30)),
    st.builds(lambda rate: {"rate": rate, "per_ms": 60_000}, st.integers(1, 300)),
    st.builds(
        lambda most, rate: {"concurrency": most, "rate": rate, "per_ms": 1000}, st.integers(1, 30), st.integers(1, 300)
    ),
)


@st.composite
def uses(draw: Any, number: int) -> list[Use]:
    found = [(draw(COUNTS), draw(COUNTS), draw(st.booleans())) for _ in range(number)]
    return [Use(running, waiting, bool(running or waiting or active)) for running, waiting, active in found]


@st.composite
def moves(draw: Any) -> tuple[Values, list[Use], Shares, int]:
    """A total, the use in each shard, shares as they may be when a mover has lowered some, and a turn."""
    total, number, turn = draw(TOTALS), draw(st.integers(1, 16)), draw(st.integers(0, 100))
    shares = fair_shares(total, draw(uses(number)), turn=turn)
    lowered = {kind: [draw(st.integers(0, share)) for share in owned] for kind, owned in shares.items()}
    return total, draw(uses(number)), lowered, turn


@given(moves())
@SLOW
def test_all_of_a_limit_is_divided_and_no_more(move: tuple[Values, list[Use], Shares, int]) -> None:
    total, using, lowered, turn = move
    shares = fair_shares(total, using, turn=turn)

    assert {*shares} == {*lowered} == {*total} - {"per_ms"}
    for kind, owned in shares.items():
        assert sum(owned) == total[kind]
        assert min(owned) >= 0


@given(moves())
@SLOW
def test_raised_shares_and_what_runs_do_not_exceed_the_total(move: tuple[Values, list[Use], Shares, int]) -> None:
    total, using, shares, turn = move
    targets = fair_shares(total, using, turn=turn)
    raised = raise_shares(total, shares, targets, using)

    for kind, owned in shares.items():
        runs = [use.running if kind == "concurrency" else 0 for use in using]
        before, after = sum(map(max, owned, runs)), sum(map(max, raised[kind], runs))
        assert after <= max(before, total[kind])
        if before > total[kind]:
            assert raised[kind] == owned
        rows = zip(owned, raised[kind], targets[kind], strict=True)
        assert all(old <= new <= max(old, target) for old, new, target in rows)


@given(moves())
@SLOW
def test_what_is_free_goes_to_a_shard_that_waits(move: tuple[Values, list[Use], Shares, int]) -> None:
    total, using, _, turn = move
    targets = fair_shares(total, using, turn=turn)
    nothing = {kind: [0] * len(using) for kind in targets}
    raised = raise_shares(total, nothing, targets, [Use(0, use.waiting, use.is_active) for use in using])

    assert raised == targets


@given(st.integers(1, 30), st.lists(COUNTS, min_size=1, max_size=16), st.integers(0, 20))
@SLOW
def test_no_waiting_shard_has_two_less_than_another(most: int, waiting: list[int], turn: int) -> None:
    using = [Use(0, number, number > 0) for number in waiting]
    shares = fair_shares({"concurrency": most}, using, turn=turn)["concurrency"]

    unserved = [share for share, number in zip(shares, waiting, strict=True) if share < number]
    if unserved:
        assert max(shares) <= min(unserved) + 1


@pytest.mark.parametrize("total", [{"concurrency": 1}, {"rate": 7, "per_ms": 60_000}])
def test_what_is_not_enough_for_all_goes_from_shard_to_shard(total: Values) -> None:
    using = [Use(1, 5, True), Use(0, 5, True), Use(0, 0, False), Use(0, 1, True)]
    turns = [fair_shares(total, using, turn=turn) for turn in range(20)]
    served = [next(place for place, share in enumerate(owned) if share) for each in turns for owned in each.values()]

    assert {*served} == {0, 1, 3}


def test_a_rate_is_shared_by_few_shards_with_many_starts_each() -> None:
    shares = fair_shares({"rate": 60, "per_ms": 1000}, [Use(0, 9, True)] * 16, turn=1)

    assert sorted(shares["rate"]) == [0] * 13 + [20] * 3
