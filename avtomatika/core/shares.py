"""How shards share a limit: each starts tasks below a share of its own, and all shares never exceed the total."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

#: Values of a limit as in messages: ``concurrency``, ``rate`` and ``per_ms``.
Values: TypeAlias = Mapping[str, int]
KINDS = ("concurrency", "rate")
#: The share of each shard, by kind.
Shares: TypeAlias = Mapping[str, Sequence[int]]
#: Each shard may start one task before its rate counts, so a share of a rate has at least this number of tasks.
_LEAST_RATE = 20


@dataclass(frozen=True, slots=True)
class Use:
    """Tasks of a shard that run and that wait for a limit; *is_active* if it had some in the last seconds."""

    running: int = 0
    waiting: int = 0
    is_active: bool = False


def fair_shares(total: Values, uses: Sequence[Use], *, turn: object) -> Shares:
    """Divide *total* among shards: as much to each as to the others, unless it needs less; the rest is spread. If it is
    not enough for all, those that wait come first, in an order that *turn* draws: the same one for all limits, or tasks
    with two of them might never have a share of both."""
    drawn = sorted(range(len(uses)), key=lambda place: blake2b(f"{turn} {place}".encode()).digest())
    order = sorted(drawn, key=lambda place: (not uses[place].waiting, not uses[place].is_active))
    order = order[: max(total["rate"] // _LEAST_RATE, 1)] if "rate" in total else order
    found = {}
    for kind in (kind for kind in KINDS if kind in total):
        wanted = {place: uses[place].running + uses[place].waiting for place in order}
        if kind == "rate":
            wanted = {place: total[kind] * uses[place].is_active for place in order}
        given = _fill(total[kind], wanted)
        each, more = divmod(total[kind] - sum(given.values()), len(order))
        given = {place: given[place] + each + (number < more) for number, place in enumerate(order)}
        found[kind] = [given.get(place, 0) for place in range(len(uses))]
    return found


def raise_shares(total: Values, shares: Shares, targets: Shares, uses: Sequence[Use]) -> Shares:
    """Return *shares* raised towards *targets* by what neither shares nor running tasks use."""
    raised, order = dict(shares), sorted(range(len(uses)), key=lambda place: not uses[place].waiting)
    for kind, owned in shares.items():
        used = [max(share, use.running * (kind != "rate")) for share, use in zip(owned, uses, strict=True)]
        free, goals = total[kind] - sum(used), targets[kind]
        if free >= 0:
            given = _fill(free, {place: goals[place] - used[place] for place in order})
            reached = [min(goals[place], used[place] + given[place]) for place in range(len(uses))]
            raised[kind] = [*map(max, owned, reached)]
    return raised


def _fill(most: int, wanted: Mapping[int, int]) -> dict[int, int]:
    """Give up to *most*, by place: the same to each, unless it wants less; the first ones get what is left over."""
    given, hungry = dict.fromkeys(wanted, 0), [place for place in wanted if wanted[place] > 0]
    while most > 0 and hungry:
        each = max(most // len(hungry), 1)
        for place in hungry[:most]:
            more = min(each, wanted[place] - given[place])
            given[place], most = given[place] + more, most - more
        hungry = [place for place in hungry if given[place] < wanted[place]]
    return given
