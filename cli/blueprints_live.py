"""``avtomatika blueprints check --live`` and ``plan``: compare blueprints with jobs and queues on the server."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field

import click

from avtomatika import broker
from avtomatika.broker import QueueChange, TopologyDiff
from avtomatika.core.job import Job
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
class _Jobs:
    """The unfinished jobs that need a *retired* state, or cannot continue because something is *missing* in a plan."""

    blueprint: str
    missing: str | None = None
    retired: str | None = None
    plans: set[str] = field(default_factory=set)
    job_ids: list[str] = field(default_factory=list)

    def add(self, job: Job) -> None:
        self.plans.add(job.plan_hash)
        self.job_ids.append(job.id)

    def as_json(self) -> dict[str, object]:
        return {
            "blueprint": self.blueprint,
            "missing": self.missing,
            "retired": self.retired,
            "jobs": len(self.job_ids),
            "plans": sorted(self.plans),
            "ids": self.job_ids,
        }

    def as_row(self) -> dict[str, object]:
        more = f" and {len(self.job_ids) - _SHOWN_IDS} more" if len(self.job_ids) > _SHOWN_IDS else ""
        ids = ", ".join(self.job_ids[:_SHOWN_IDS]) + more
        return {**self.as_json(), "plans": ", ".join(sorted(self.plans)), "ids": ids}


def check_jobs(plans: Sequence[Plan], *, as_json: bool) -> bool:
    """Print jobs that cannot continue under *plans*, and the use of retired states; return whether all can continue."""
    by_name = {plan.blueprint: plan for plan in plans}
    stuck: dict[tuple[str, str], _Jobs] = {}
    retired = {
        (plan.blueprint, state.name): _Jobs(plan.blueprint, retired=state.name)
        for plan in plans
        for state in plan.states.values()
        if state.is_retired
    }
    checked = 0
    settings = join_local()
    with closing(Store.connect(str(settings.redis_url), prefixes=settings.key_prefixes)) as store:
        for job in (job for page in store.plans.unfinished_jobs() for job in page if job.blueprint in by_name):
            plan = by_name[job.blueprint]
            for state in states_needed(job):
                if (plan.blueprint, state) in retired:
                    retired[plan.blueprint, state].add(job)
            if plan.plan_hash == job.plan_hash:
                continue
            checked += 1
            for what in missing(plan, job):
                stuck.setdefault((job.blueprint, what), _Jobs(job.blueprint, missing=what)).add(job)
    if as_json:
        print_json([each.as_json() for each in (*stuck.values(), *retired.values())])
        return not stuck
    if stuck:
        print_table([each.as_row() for each in stuck.values()], _STUCK_COLUMNS)
    else:
        click.echo(f"{checked} jobs of earlier plans: all can continue")
    for each in retired.values():
        jobs = len(each.job_ids)
        use = f"{jobs} jobs still need it" if jobs else "no job needs it, its handler can be removed"
        click.echo(f"{each.blueprint}: retired state {each.retired!r}: {use}")
    return not stuck


# ---------------------------------------------------------------- plan


def plan_routing(plans: Sequence[Plan], *, apply: bool, as_json: bool) -> bool:
    """Print (and with *apply* make) the changes of *plans* to the broker; return whether no queue had to be kept."""
    settings = join_local()
    url, prefixes = str(settings.redis_url), settings.key_prefixes
    with broker.connect(url, prefixes=prefixes) as connection, closing(Store.connect(url, prefixes=prefixes)) as store:
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
    ours = {plan_name(plan.blueprint, plan.plan_hash) for plan in plans}
    jobs: dict[str, int] = {}
    for page in store.plans.unfinished_jobs():
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
        print_json({"exchanges": found.exchanges, "queues": [asdict(each) for each in found.queues]})
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
