"""Balancing, with the clock of the test."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from avtomatika.addresses import Mode
from avtomatika.worker.links.balancing import BalancerState, Grant, LinkState, active_link, after_taking, next_grant

READY = LinkState(is_ready=True)
ILL = LinkState(is_healthy=False, since=0)


def test_the_first_link_is_active_until_it_fails() -> None:
    assert active_link([READY, READY], None, now=0) == 0
    assert active_link([ILL, READY], 0, now=0) == 1
    assert active_link([ILL, ILL], 0, now=0) is None


def test_failback_happens_after_ten_healthy_seconds() -> None:
    links = [LinkState(since=100), READY]

    assert active_link(links, 1, now=109.9) == 1
    assert active_link(links, 1, now=110) == 0


def test_failback_is_immediate_when_the_active_link_fails() -> None:
    assert active_link([LinkState(since=100), ILL], 1, now=101) == 0


def test_a_link_not_connected_in_time_is_unhealthy() -> None:
    links = [LinkState(grace_until=2), READY]

    assert active_link(links, None, now=1.9) == 0
    assert active_link(links, 0, now=2) == 1
    assert active_link([LinkState(grace_until=2)], 0, now=2) is None


def test_the_active_link_waits_and_a_standby_is_polled_every_five_seconds() -> None:
    links = [replace(READY, is_ready=False), replace(READY, requested_at=100)]

    assert next_grant(Mode.FAILOVER, links, free=2, state=BalancerState(0), now=104)[0] is None
    assert next_grant(Mode.FAILOVER, links, free=2, state=BalancerState(0), now=105)[0] == Grant(1)
    grant, _ = next_grant(Mode.FAILOVER, [READY, READY], free=2, state=BalancerState(0), now=0)
    assert grant is not None
    assert (grant.link, grant.tasks) == (0, 2)
    assert grant.wait_seconds > 0


def test_no_grant_is_issued_without_a_free_slot() -> None:
    for mode in Mode:
        assert next_grant(mode, [READY, READY], free=0, state=BalancerState(), now=0)[0] is None


def test_an_unhealthy_link_gets_no_grant() -> None:
    for mode in Mode:
        grant, _ = next_grant(mode, [replace(ILL, is_ready=True), READY], free=1, state=BalancerState(), now=0)
        assert grant is not None
        assert grant.link == 1


def test_tasks_are_shared_by_weight_and_evenly_mixed() -> None:
    links = [replace(READY, weight=3), READY]
    state, chosen = BalancerState(), []
    for _ in range(40):
        grant, state = next_grant(Mode.ROUND_ROBIN, links, free=1, state=state, now=0)
        assert grant is not None
        chosen.append(grant.link)
        state = after_taking(state, links, grant.link, 1)

    assert Counter(chosen) == {0: 30, 1: 10}
    assert all(1 in chosen[first : first + 4] for first in range(0, 40, 4))


def test_weights_hold_while_slots_are_free() -> None:
    links = [replace(READY, weight=3), READY]
    state, taken = BalancerState(), Counter[int]()
    requested: list[int] = []
    for _ in range(100):  # every request takes one task, and both links request at the same time if they can
        while True:
            grant, state = next_grant(Mode.ROUND_ROBIN, links, free=100, state=state, now=0)
            if grant is None:
                break
            links[grant.link] = replace(links[grant.link], is_ready=False, requested=1)
            requested.append(grant.link)
        place = requested.pop(0)
        links[place] = replace(links[place], is_ready=True, requested=0)
        state = after_taking(state, links, place, 1)
        taken[place] += 1

    assert taken[0] == pytest.approx(75, abs=1)


def test_a_link_does_not_make_up_for_all_that_it_missed() -> None:
    links, state = [replace(READY, weight=3), READY], BalancerState()
    for _ in range(1000):
        state = after_taking(state, links, 1, 1)

    chosen = []
    for _ in range(20):
        grant, state = next_grant(Mode.ROUND_ROBIN, links, free=1, state=state, now=0)
        assert grant is not None
        state = after_taking(state, links, grant.link, 1)
        chosen.append(grant.link)

    assert 1 in chosen


def test_links_that_had_nothing_wait_all_at_the_same_time_and_hold_no_slot() -> None:
    dry = replace(READY, was_empty=True)

    first, state = next_grant(Mode.ROUND_ROBIN, [dry, dry], free=1, state=BalancerState(), now=0)
    assert first is not None
    assert (first.link, first.reserves) == (0, False)
    other, _ = next_grant(Mode.ROUND_ROBIN, [replace(dry, is_ready=False), dry], free=1, state=state, now=0)
    assert other is not None
    assert (other.link, other.reserves) == (1, False)


def test_an_empty_link_is_polled_again_while_another_has_tasks() -> None:
    dry = replace(READY, was_empty=True)

    waiting, state = next_grant(Mode.ROUND_ROBIN, [READY, dry], free=1, state=BalancerState(), now=0)
    assert waiting is not None
    assert (waiting.link, waiting.reserves) == (1, False)
    meanwhile, _ = next_grant(Mode.ROUND_ROBIN, [READY, replace(dry, is_ready=False)], free=1, state=state, now=0)
    assert meanwhile == Grant(0)
