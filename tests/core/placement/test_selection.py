"""The selection of a worker, for every strategy and every requirement of a task."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from avtomatika.core.placement.selection import STRATEGIES, Candidate, Needs, NoCandidate, Strategy, choose, nearest


def member(worker_id: str, **facts: Any) -> Candidate:
    return Candidate(**{"worker_id": worker_id, "skills": frozenset({"encode"}), **facts})


def chosen(needs: Needs, *fleet: Candidate) -> str:
    found = choose(needs, "encode", fleet)
    assert isinstance(found, Candidate), found
    return found.worker_id


def missing(needs: Needs, *fleet: Candidate) -> str:
    found = choose(needs, "encode", fleet)
    assert isinstance(found, NoCandidate), found
    return found.missing


def test_round_robin_takes_whoever_was_chosen_longest_ago() -> None:
    needs = Needs(Strategy.ROUND_ROBIN)

    assert (
        chosen(needs, member("a", last_chosen=3), member("b", last_chosen=1), member("c", last_chosen=2, load=0)) == "b"
    )
    assert chosen(needs, member("a", last_chosen=3), member("new")) == "new"


def test_least_connections_takes_whoever_has_the_fewest_tasks_and_then_takes_turns() -> None:
    needs = Needs(Strategy.LEAST_CONNECTIONS)

    assert chosen(needs, member("a", load=2), member("b", load=1, last_chosen=9)) == "b"
    assert chosen(needs, member("a", load=1, last_chosen=2), member("b", load=1, last_chosen=1)) == "b"


def test_cheapest_takes_the_lowest_cost_and_last_who_says_nothing_of_it() -> None:
    needs = Needs(Strategy.CHEAPEST)

    assert chosen(needs, member("a", costs={"encode": 2}), member("b", costs={"encode": 1}, load=9)) == "b"
    assert chosen(needs, member("silent"), member("dear", costs={"encode": 100})) == "dear"
    assert chosen(needs, member("other", costs={"scan": 0}), member("a", costs={"encode": 5})) == "a"


def test_best_value_weighs_cost_with_how_busy_a_worker_is() -> None:
    needs = Needs(Strategy.BEST_VALUE)
    dear = member("dear", costs={"encode": 1.5}, slots=2)

    assert chosen(needs, member("cheap", costs={"encode": 1}, slots=2), dear) == "cheap"
    assert chosen(needs, member("cheap", costs={"encode": 1}, slots=2, load=2), dear) == "dear"
    assert chosen(needs, member("silent"), member("known", costs={"encode": 1}, load=1)) == "silent"


def test_best_value_counts_what_a_task_costs_until_one_has_ended_well() -> None:
    needs = Needs(Strategy.BEST_VALUE)
    dear = member("dear", costs={"encode": 1.5})

    assert chosen(needs, member("cheap", costs={"encode": 1}, reputation=0.7), dear) == "cheap"
    assert chosen(needs, member("cheap", costs={"encode": 1}, reputation=0.6), dear) == "dear"
    assert chosen(needs, member("a", reputation=0.0, costs={"encode": 1}), member("b", costs={"encode": 9})) == "b"


def test_standbys_and_those_without_the_skill_are_passed_over() -> None:
    needs = Needs()

    assert chosen(needs, member("standby", is_standby=True), member("b", load=50)) == "b"
    assert missing(needs, member("x", skills=frozenset({"scan"}))) == "no worker with the skill 'encode' is online"
    assert missing(needs, member("a", is_standby=True)) == "none of 1 with the skill 'encode' fits: is a standby (1)"


@pytest.mark.parametrize(
    ("requirements", "fits"),
    [
        ({"ram_gb": 64}, True),
        ({"ram_gb": 65}, False),
        ({"arch": "arm64"}, True),
        ({"arch": "amd64"}, False),
        ({"fast": True}, True),
        ({"fast": False}, False),
        ({"disk": 1}, False),
        ({"gpu": 2}, True),
        ({"gpu": 3}, False),
        ({"gpu": True}, True),
        ({"tpu": True}, False),
        ({"tpu": False}, True),
        ({"gpu": {"memory_gb": 24}}, True),
        ({"gpu": {"memory_gb": 25}}, False),
        ({"gpu": {"model": "B", "memory_gb": 8}}, True),
        ({"devices": [{"type": "gpu", "memory_gb": 20}]}, True),
        ({"devices": [{"type": "gpu"}, {"type": "gpu", "memory_gb": 20}]}, True),
        ({"devices": [{"type": "gpu", "memory_gb": 20}, {"type": "gpu", "memory_gb": 20}]}, False),
        ({"devices": [{"type": "tpu"}]}, False),
        ({"ram_gb": "64"}, False),
    ],
)
def test_resources_are_enough_or_not(requirements: dict[str, Any], fits: bool) -> None:
    rich = member(
        "rich",
        properties={"ram_gb": 64, "arch": "arm64", "fast": True},
        devices=[{"type": "gpu", "model": "A", "memory_gb": 24}, {"type": "gpu", "model": "B", "memory_gb": 8}],
    )

    assert isinstance(choose(Needs(requirements=requirements), "encode", [rich]), Candidate) is fits


def test_what_is_missing_is_told_with_how_many_miss_it() -> None:
    needs = Needs(requirements={"ram_gb": 64}, max_cost=0.5)
    fleet = (
        member("a", properties={"ram_gb": 32}, costs={"encode": 0.1}),
        member("b", properties={"ram_gb": 16}, costs={"encode": 0.9}),
        member("c", properties={"ram_gb": 16}),
    )

    assert missing(needs, *fleet) == (
        "none of 3 with the skill 'encode' fits: "
        "costs more than 0.5 (1), does not say what it costs (1), lacks ram_gb=64 (3)"
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.sampled_from(STRATEGIES))
def test_whoever_is_chosen_is_one_of_those_that_fit(loads: list[int], strategy: Strategy) -> None:
    fleet = [member(f"w-{place}", load=load, is_standby=load == 0) for place, load in enumerate(loads)]

    found = choose(Needs(strategy), "encode", fleet)

    fitting = [each for each in fleet if not each.is_standby]
    assert found in fitting if fitting else isinstance(found, NoCandidate)


def test_equal_workers_take_turns() -> None:
    turns = {"a": 0, "b": 0, "c": 0}
    order = []
    for turn in range(1, 7):
        name = chosen(Needs(Strategy.ROUND_ROBIN), *(member(each, last_chosen=last) for each, last in turns.items()))
        turns[name] = turn
        order.append(name)

    assert order == ["a", "b", "c", "a", "b", "c"]


class TestNearest:
    def nearest(self, *fleet: Candidate) -> str | None:
        found = nearest(frozenset({"film", "sound"}), "encode", fleet)
        return None if found is None else found.worker_id

    def test_takes_whoever_has_the_most_of_the_files_and_then_the_fewest_tasks(self) -> None:
        film, both = frozenset({"film"}), frozenset({"film", "sound", "other"})

        assert (
            self.nearest(member("a"), member("b", cached_files=film), member("c", cached_files=both, load=3, slots=4))
            == "c"
        )
        assert (
            self.nearest(member("a", cached_files=film, load=1, slots=4), member("b", cached_files=film, slots=4))
            == "b"
        )

    def test_takes_nobody_who_could_not_begin_at_once_or_has_none_of_them(self) -> None:
        film = frozenset({"film"})

        assert self.nearest(member("far", cached_files=frozenset({"other"})), member("silent")) is None
        assert self.nearest(member("full", cached_files=film, load=2, slots=2)) is None
        assert self.nearest(member("standby", cached_files=film, is_standby=True)) is None
        assert self.nearest(member("unable", cached_files=film, skills=frozenset({"scan"}))) is None
