"""Whose turn it is, by the clock of the test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from avtomatika.worker.config import Mode
from avtomatika.worker.links.balancing import BalancerState, Grant, LinkState, in_charge, next_turn, with_taken

READY = LinkState(is_ready=True)
ILL = LinkState(is_healthy=False, since=0)


def test_the_first_of_the_list_is_in_charge_until_it_fails() -> None:
    assert in_charge([READY, READY], None, now=0) == 0
    assert in_charge([ILL, READY], 0, now=0) == 1
    assert in_charge([ILL, ILL], 0, now=0) is None


def test_a_better_one_takes_over_when_it_has_been_healthy_for_ten_seconds() -> None:
    links = [LinkState(since=100), READY]

    assert in_charge(links, 1, now=109.9) == 1
    assert in_charge(links, 1, now=110) == 0


def test_a_better_one_takes_over_at_once_when_the_one_in_charge_fails() -> None:
    assert in_charge([LinkState(since=100), ILL], 1, now=101) == 0


def test_one_that_was_not_reached_in_time_is_not_waited_for() -> None:
    links = [LinkState(trusted_until=2), READY]

    assert in_charge(links, None, now=1.9) == 0
    assert in_charge(links, 0, now=2) == 1
    assert in_charge([LinkState(trusted_until=2)], 0, now=2) is None


def test_the_one_in_charge_waits_and_a_standby_is_asked_every_five_seconds() -> None:
    links = [replace(READY, is_ready=False), replace(READY, asked_at=100)]

    assert next_turn(Mode.FAILOVER, links, free=2, memory=BalancerState(0), now=104)[0] is None
    assert next_turn(Mode.FAILOVER, links, free=2, memory=BalancerState(0), now=105)[0] == Grant(1)
    turn, _ = next_turn(Mode.FAILOVER, [READY, READY], free=2, memory=BalancerState(0), now=0)
    assert turn is not None
    assert (turn.link, turn.tasks) == (0, 2)
    assert turn.wait_seconds > 0


def test_nobody_asks_while_no_slot_is_free() -> None:
    for mode in Mode:
        assert next_turn(mode, [READY, READY], free=0, memory=BalancerState(), now=0)[0] is None


def test_a_link_that_is_ill_gets_no_turn() -> None:
    for mode in Mode:
        turn, _ = next_turn(mode, [replace(ILL, is_ready=True), READY], free=1, memory=BalancerState(), now=0)
        assert turn is not None
        assert turn.link == 1


def test_turns_are_shared_by_weight_and_evenly_mixed() -> None:
    links = [replace(READY, weight=3), READY]
    memory, chosen = BalancerState(), []
    for _ in range(40):
        turn, memory = next_turn(Mode.ROUND_ROBIN, links, free=1, memory=memory, now=0)
        assert turn is not None
        chosen.append(turn.link)
        memory = with_taken(memory, links, turn.link, 1)

    assert Counter(chosen) == {0: 30, 1: 10}
    assert all(1 in chosen[first : first + 4] for first in range(0, 40, 4))


def test_weights_hold_while_slots_are_free() -> None:
    links = [replace(READY, weight=3), READY]
    memory, taken = BalancerState(), Counter[int]()
    asking: list[int] = []
    for _ in range(100):  # every request takes one task, and both links ask at the same time where they may
        while True:
            turn, memory = next_turn(Mode.ROUND_ROBIN, links, free=100, memory=memory, now=0)
            if turn is None:
                break
            links[turn.link] = replace(links[turn.link], is_ready=False, asking=1)
            asking.append(turn.link)
        place = asking.pop(0)
        links[place] = replace(links[place], is_ready=True, asking=0)
        memory = with_taken(memory, links, place, 1)
        taken[place] += 1

    assert taken[0] == pytest.approx(75, abs=1)


def test_a_link_does_not_make_up_for_all_that_it_missed() -> None:
    links, memory = [replace(READY, weight=3), READY], BalancerState()
    for _ in range(1000):
        memory = with_taken(memory, links, 1, 1)

    chosen = []
    for _ in range(20):
        turn, memory = next_turn(Mode.ROUND_ROBIN, links, free=1, memory=memory, now=0)
        assert turn is not None
        memory = with_taken(memory, links, turn.link, 1)
        chosen.append(turn.link)

    assert 1 in chosen


def test_links_that_had_nothing_wait_all_at_the_same_time_and_hold_no_slot() -> None:
    dry = replace(READY, is_dry=True)

    first, memory = next_turn(Mode.ROUND_ROBIN, [dry, dry], free=1, memory=BalancerState(), now=0)
    assert first is not None
    assert (first.link, first.reserves) == (0, False)
    other, _ = next_turn(Mode.ROUND_ROBIN, [replace(dry, is_ready=False), dry], free=1, memory=memory, now=0)
    assert other is not None
    assert (other.link, other.reserves) == (1, False)


def test_a_link_that_had_nothing_is_asked_again_though_another_has_plenty() -> None:
    dry = replace(READY, is_dry=True)

    waiting, memory = next_turn(Mode.ROUND_ROBIN, [READY, dry], free=1, memory=BalancerState(), now=0)
    assert waiting is not None
    assert (waiting.link, waiting.reserves) == (1, False)
    meanwhile, _ = next_turn(Mode.ROUND_ROBIN, [READY, replace(dry, is_ready=False)], free=1, memory=memory, now=0)
    assert meanwhile == Grant(0)
