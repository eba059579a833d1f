"""``avtomatika blueprints check --live`` and ``plan``: compare blueprints with jobs and queues on the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import click

from avtomatika import broker
from avtomatika.broker import QueueChange, TopologyDiff
from avtomatika.core.machine.plan_migration import missing, plan_name, states_needed
from avtomatika.core.plan import Plan
from avtomatika.store import Store, needed_by

from .environment import join_local
from .output import print_json, print_table

_STUCK_COLUMNS = ("blueprint", "missing", "jobs", "plans", "ids")
_CHANGE_COLUMNS = ("change", "queue", "messages", "bindings", "why")
#: Job ids printed in a row of the table; JSON has all.
_SHOWN_IDS = 2
_SIGNS = {"add": "+ add", "change": "~ change", "same": "  same", "remove": "- remove", "keep": "! keep"}


# ---------------------------------------------------------------- check --live


@dataclass(slots=True)
class Stuck:
    """Jobs that cannot continue under a plan for one reason."""

    blueprint: str
    missing: str
    plans: set[str] = field(default_factory=set)
    job_ids: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {
            "blueprint": self.blueprint,
            "missing": self.missing,
            "jobs": len(self.job_ids),
            "plans": sorted(self.plans),
            "ids": self.job_ids,
        }

    def as_row(self) -> dict[str, object]:
        more = f" and {len(self.job_ids) - _SHOWN_IDS} more" if len(self.job_ids) > _SHOWN_IDS else ""
        ids = ", ".join(self.job_ids[:_SHOWN_IDS]) + more
        return {**self.as_json(), "plans": ", ".join(sorted(self.plans)), "ids": ids}


def check_jobs(plans: Sequence[Plan], *, as_json: bool) -> bool:
    """Print which jobs *plans* could not go on with, and how many need their retired states; whether all can go on."""
    by_name = {plan.blueprint: plan for plan in plans}
    found: dict[tuple[str, str], Stuck] = {}
    in_retired: Counter[tuple[str, str]] = Counter()
    looked = 0
    with closing(Store.connect(str(join_local().redis_url))) as store:
        for job in (job for page in store.plans.unfinished() for job in page):
            plan = by_name.get(job.blueprint)
            if plan is None:
                continue
            in_retired.update((plan.blueprint, state) for state in states_needed(job) if _is_retired(plan, state))
            if plan.plan8 == job.plan8:
                continue
            looked += 1
            for what in missing(plan, job):
                stuck = found.setdefault((job.blueprint, what), Stuck(job.blueprint, what))
                stuck.plans.add(job.plan8)
                stuck.job_ids.append(job.id)
    if as_json:
        print_json([stuck.as_json() for stuck in found.values()])
    elif found:
        print_table([stuck.as_row() for stuck in found.values()], _STUCK_COLUMNS)
    else:
        click.echo(f"{looked} jobs of earlier plans: all can continue")
    if not as_json:
        _print_retired(plans, in_retired)
    return not found


def _is_retired(plan: Plan, state: str) -> bool:
    return state in plan.states and plan.states[state].is_retired


def _print_retired(plans: Sequence[Plan], needed_by: Mapping[tuple[str, str], int]) -> None:
    for plan in plans:
        for state in plan.states:
            if _is_retired(plan, state):
                jobs = needed_by.get((plan.blueprint, state), 0)
                use = f"{jobs} jobs still need it" if jobs else "no job needs it, its handler can be removed"
                click.echo(f"{plan.blueprint}: retired state {state!r}: {use}")


# ---------------------------------------------------------------- plan


def plan_routing(plans: Sequence[Plan], *, apply: bool, as_json: bool) -> bool:
    """Print (and with *apply* make) the changes of *plans* to the broker; return whether no queue had to be kept."""
    url = str(join_local().redis_url)
    with broker.connect(url) as connection, closing(Store.connect(url)) as store:
        found = broker.diff_topology(connection, plans, needed=_needed(store, plans))
        _print(found, as_json=as_json)
        if not apply:
            return not found.is_refused
        broker.declare(connection, plans)
        kept = broker.remove_queues(connection, found)
        for each in kept.queues:
            click.echo(f"{each.queue}: kept, {each.why_kept}", err=True)
        return not (found.is_refused or kept.is_refused)


def _needed(store: Store, plans: Sequence[Plan]) -> dict[str, str]:
    """Return the other plans that an orchestrator serves or jobs need, with the reason."""
    ours = {plan_name(plan.blueprint, plan.plan8) for plan in plans}
    jobs: dict[str, int] = {}
    for page in store.plans.unfinished():
        for plan in (plan for job in page for plan in needed_by(job)):
            jobs[plan] = jobs.get(plan, 0) + 1
    why = {plan: f"{count} jobs need it" for plan, count in jobs.items()}
    limit_ms = join_local().plan_takeover_seconds * 1000
    for plan, silent_ms in store.plans.announce().silent_ms.items():
        if silent_ms < limit_ms:
            why[plan] = f"an orchestrator serves it, last seen {silent_ms / 1000:.0f} s ago"
    return {plan: reason for plan, reason in why.items() if plan not in ours}


def _print(found: TopologyDiff, *, as_json: bool) -> None:
    if as_json:
        print_json({"exchanges": found.exchanges, "queues": [_as_json(each) for each in found.queues]})
        return
    rows = [{"change": _SIGNS["add"], "queue": f"exchange {name}"} for name in found.exchanges]
    print_table([*rows, *(_as_row(each) for each in found.queues)], _CHANGE_COLUMNS)


def _as_row(each: QueueChange) -> dict[str, object]:
    counts = [f"{sign}{len(keys)}" for sign, keys in (("+", each.added), ("-", each.removed)) if keys]
    return {
        "change": _SIGNS[each.change],
        "queue": each.queue,
        "messages": each.messages,
        "bindings": " ".join(counts),
        "why": each.why_kept,
    }


def _as_json(each: QueueChange) -> dict[str, object]:
    return {
        "queue": each.queue,
        "change": each.change,
        "messages": each.messages,
        "added": each.added,
        "removed": each.removed,
        "why_kept": each.why_kept,
    }
