"""Shares of limits in several shards: one orchestrator moves them to where tasks wait.

A mover first lowers shares, and reads what runs at that moment; then it raises others by what is free. A shard refuses
it if another one has been there since it looked, so two of them have an order, and one goes on from where another has
stopped. In a shard that a mover has marked, a key without an entry has no share, whatever values its messages have.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from secrets import token_hex
from time import monotonic
from typing import Any, TypeAlias

import orjson

from avtomatika.core import shares as core
from avtomatika.core.shares import KINDS, Use, Values
from avtomatika.errors import UnavailableError
from avtomatika.transport import RedisClient, Router, none_refused
from avtomatika.transport.flow import change_call, read_call
from avtomatika.transport.scripts import Argument

from .scripts import server_errors
from .server_part import ServerClock, ServerPart

#: Attempts at a change of a limit while others change limits; maximum number of limits that are moved at once.
_ATTEMPTS, _BATCH = 50, 200
#: How long a shard without tasks keeps its share, and how long shards that wait are served in the same order.
_ACTIVE_SECONDS, _TURN_MS = 5.0, 5000
#: Interval of moves, in ms: at least, in times that one takes, and after one that was not finished.
_EVERY_MS, _EVERY_TIMES, _UNFINISHED_MS = 400, 3, 3000
#: A change in each shard: action, its argument, and ms of the next token of a rate.
_Changes: TypeAlias = list[tuple[str, Argument, Argument]]
_LOOK = ("look", "", "")


@dataclass(frozen=True, slots=True)
class _Limit:
    """The entries of a limit in each shard, {} for none, the home first; its source and total, {} to forget it."""

    name: str
    entries: Sequence[Mapping[str, Any]]
    uses: Sequence[Use]
    source: str
    total: Values
    #: Changes when others of the shards that wait come first.
    turn: int

    def move(self) -> Generator[_Changes, Sequence[Sequence[Any]], None]:
        """Yield the changes that lower shares, receive the answers, and yield those that raise others; or nothing."""
        shares = self._lowered()
        if shares is not None:
            rows = yield self._changes("lower", shares, self.entries)
            uses = [replace(use, running=row[1]) for use, row in zip(self.uses, rows, strict=True)]
            raised = core.raise_shares(self.total, shares, self._targets(uses), uses)
            due = max((row[2] for row in rows), key=lambda text: float(text or 0)) if "rate" in self.total else ""
            changes = self._changes("set", raised, [self._entry(shares, place) for place in range(len(rows))], due)
            yield changes if self.total else [("remove", "", "")] * len(rows)

    def align(self) -> Generator[_Changes, object, None]:
        """Yield changes that do nothing, then those that pause or resume each shard like the home; or nothing."""
        by = self.entries[0].get("paused")
        if any(each.get("paused") != by for each in self.entries):
            yield [_LOOK] * len(self.entries)
            yield [("pause" if by else "resume", by or "", "")] * len(self.entries)

    def _lowered(self) -> core.Shares | None:
        """Return the shares to begin with; None if nothing is to be done."""
        kinds = [kind for kind in KINDS if kind in self.total]
        allowed = [(self.source, self.total), *([] if self.source else [("", {})])]
        if any((each.get("source", ""), each.get("total", {})) not in allowed for each in self.entries):
            return dict.fromkeys(kinds, [0] * len(self.entries))
        shares, targets = (
            {kind: [int(each.get(kind, 0)) for each in self.entries] for kind in kinds},
            self._targets(self.uses),
        )
        least = {kind: [*map(min, shares[kind], targets[kind])] for kind in kinds}
        waits = [place for place, use in enumerate(self.uses) if use.waiting]
        lowered = (
            least if any(least[kind][place] < targets[kind][place] for kind in kinds for place in waits) else shares
        )
        is_moved = lowered != shares or core.raise_shares(self.total, lowered, targets, self.uses) != lowered
        return lowered if is_moved else None

    def _targets(self, uses: Sequence[Use]) -> core.Shares:
        return core.fair_shares(self.total, uses, turn=self.turn if any(use.waiting for use in uses) else self.name)

    def _changes(
        self, action: str, shares: core.Shares, entries: Sequence[Mapping[str, Any]], due: Argument = ""
    ) -> _Changes:
        """Return the change in each shard from *entries* to *shares*, if it needs any."""
        changes: _Changes = []
        for place, entry in enumerate(entries):
            wanted = self._entry(shares, place)
            is_implied = not self.source and "total" not in entry and not any(wanted.get(kind) for kind in KINDS)
            is_same = not self.total or is_implied or wanted.items() <= entry.items()
            changes.append(_LOOK if is_same else (action, orjson.dumps(wanted), due))
        return changes

    def _entry(self, shares: core.Shares, place: int) -> dict[str, Any]:
        share = {kind: owned[place] for kind, owned in shares.items()}
        stopped = {} if share.get("rate", 1) else {"concurrency": 0}
        return {**self.total, **share, **stopped, "source": self.source, "total": self.total}


class Shares(ServerPart):
    """Every method raises UnavailableError if a server is unreachable."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        super().__init__(server)
        self._shards, self._clock = [router.of(prefix).keys for prefix in server.prefixes], ServerClock(server)
        #: Until when each shard counts as active, by limit (monotonic).
        self._active: dict[str, list[float]] = {}

    def move(self) -> None:
        """Move shares to where tasks wait, if no other orchestrator does."""
        claim, began = self._keys.claim("shares"), monotonic()
        if self._read([("SET", claim, 1, "NX", "PX", _UNFINISHED_MS)])[0] is not None:
            movers, limits = self._look()
            self._active = {name: until for name, until in self._active.items() if name in limits}
            if "-" in movers:
                self._change(movers, [("-", [_LOOK] * len(movers))])
            self._move(movers, sorted(limits.values(), key=lambda limit: not any(use.waiting for use in limit.uses)))
            took_ms = round(1000 * (monotonic() - began))
            self._read([("PEXPIRE", claim, max(_EVERY_TIMES * took_ms, _EVERY_MS))])

    def define(self, name: str, total: Values | None, source: str = "") -> bool:
        """Set the *total* of a limit, or remove it; return False if it had none."""
        for _ in range(_ATTEMPTS):
            movers, limits = self._look([name])
            if total is None and not all(limit.source for limit in limits.values()):
                return False
            changed = [replace(limit, source=source, total=total or {}) for limit in limits.values()]
            if changed and self._move(movers, changed):
                return True
        raise UnavailableError(f"{name!r} was not changed: others change limits, or have a larger AVTOMATIKA_SHARDS")

    def _look(self, names: Sequence[str] = ()) -> tuple[list[str], dict[str, _Limit]]:
        """Return the last mover of each shard, and the limits by name; none if there are more shards by now."""
        commands = [each for keys in self._shards for each in (("GET", keys.flow_mover), read_call(keys, names))]
        with server_errors():
            *answers, counts = none_refused(self._server.run_all([*commands, ("HKEYS", self._keys.shard_counts())]))
        if max(map(int, counts), default=0) > len(self._shards):
            return [], {}
        rows = [{row[0].decode(): row for row in answer} for answer in answers[1::2]]
        limits = {
            name: self._limit(name, [row.get(name, (name, b"", 0, 0, b"", 0)) for row in rows])
            for name in {*chain(*rows)}
        }
        return [(mover or b"-").decode() for mover in answers[::2]], limits

    def _limit(self, name: str, rows: Sequence[Sequence[Any]]) -> _Limit:
        now, until = monotonic(), self._active.setdefault(name, [0.0] * len(rows))
        for place, (_, _, running, stopped, _, others) in enumerate(rows):
            until[place] = now + _ACTIVE_SECONDS if running + stopped + others else until[place]
        uses = [Use(row[2], row[3] + row[5], now <= end) for row, end in zip(rows, until, strict=True)]
        entries = [orjson.loads(row[1] or b"{}") for row in rows]
        source, totals = entries[0].get("source", ""), [_total(entries[0])]
        if not source:
            is_used = name.startswith("key:") and any(use.is_active for use in uses)
            totals = (
                [_total(orjson.loads(row[4])) for row in rows if row[4]] or [*map(_total, entries)] if is_used else []
            )
        strictest = min(filter(None, totals), key=lambda each: [each.get(kind, inf) for kind in KINDS], default={})
        return _Limit(name, entries, uses, source, strictest, self._clock.now_ms() // _TURN_MS)

    def _move(self, movers: list[str], limits: Sequence[_Limit]) -> bool:
        """Move the shares of *limits* in two round trips; return False if another mover came."""
        moves = [(limit.name, move) for limit in limits for move in (limit.move(), limit.align())]
        begun = [(name, move, first) for name, move in moves if (first := next(move, None)) is not None][:_BATCH]
        answers = self._change(movers, [(name, first) for name, _, first in begun])
        if None not in chain(*answers):
            changes = [(name, move.send(rows)) for (name, move, _), rows in zip(begun, answers, strict=True)]
            answers = self._change(movers, changes)
        return None not in chain(*answers)

    def _change(self, movers: list[str], changes: Sequence[tuple[str, _Changes]]) -> list[list[Any]]:
        """Run *changes* of limits; return the answers of each shard to each, None after another mover. Each change
        writes a new mark in each shard and in *movers*, so changes based on earlier reads are refused."""
        calls, number = [], len(self._shards)
        for name, change in changes:
            mover, rows = token_hex(8), zip(self._shards, movers, change, strict=True)
            calls += [change_call(keys, name, *what, mover, last, due) for keys, last, (*what, due) in rows]
            movers[:] = [mover] * number
        with server_errors():
            answers = self._server.run_each(calls)
        return [answers[place : place + number] for place in range(0, len(answers), number)]


def _total(entry: Mapping[str, Any]) -> Values:
    values = entry.get("total", entry)
    return {name: int(values[name]) for name in (*KINDS, "per_ms") if name in values}
