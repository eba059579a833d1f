"""Reads the tasks and child jobs that a handler starts. An invalid one raises HandlerError."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

from avtomatika.core.plan import CHILD_OUTCOMES
from avtomatika.errors import HandlerError

from . import arguments
from .action_types import DispatchTask, FanOut, RunBlueprint

#: Priorities of tasks, higher first.
PRIORITIES = range(10)
#: Maximum number of branches of a fan-out.
MAX_BRANCHES = 100_000
#: When a fan-out fails, if too many of its branches fail: at once, or when all have ended.
OnFailure = Literal["fail", "finish_all"]
#: The keys that a task, and a child job, may have.
Keys: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


def task(action: str, given: Mapping[str, object]) -> DispatchTask:
    """Return the task of *given* arguments of ``dispatch_task``."""
    return DispatchTask(
        task_type=arguments.name(given.get("task_type"), f"{action}: the task type"),
        params=arguments.json_object(given.get("params"), f"{action}: params"),
        transitions=arguments.transitions(given.get("transitions"), action),
        priority=arguments.whole(given.get("priority"), f"{action}: priority", PRIORITIES),
        max_retries=arguments.whole(given.get("max_retries"), f"{action}: max_retries", range(1_000_001)),
        dispatch_timeout_seconds=arguments.seconds(given.get("dispatch_timeout"), f"{action}: dispatch_timeout"),
        result_timeout_seconds=arguments.seconds(given.get("result_timeout"), f"{action}: result_timeout"),
        output_schema=arguments.schema(given.get("output_schema"), f"{action}: output_schema"),
        retry=arguments.retry(given.get("retry"), f"{action}: retry"),
        needs=arguments.needs(given, action),
    )


def child_job(action: str, given: Mapping[str, object]) -> RunBlueprint:
    """Return the child job of *given* arguments of ``run_blueprint``."""
    return RunBlueprint(
        name=arguments.name(given.get("blueprint"), f"{action}: the blueprint"),
        initial_data=arguments.json_object(given.get("initial_data"), f"{action}: initial_data"),
        transitions=arguments.transitions(given.get("transitions"), action),
        priority=arguments.whole(given.get("priority"), f"{action}: priority", PRIORITIES),
        labels=arguments.labels(given.get("labels"), f"{action}: labels"),
        time_limit_seconds=arguments.seconds(given.get("time_limit"), f"{action}: time_limit"),
    )


def fan_out(action: str, items: object, aggregate_into: object, policy: tuple[object, ...], keys: Keys) -> FanOut:
    """Return the fan-out of *items*, whose keys are the second of *keys* for a child job, else the first. *policy* are
    the arguments ``on_failure``, ``max_failures``, ``first_success`` and ``max_concurrency``."""
    only_children = action == "run_blueprints"
    plural = "blueprints" if only_children else "tasks"
    aggregator = arguments.name(aggregate_into, f"{action}: aggregate_into")
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise HandlerError(f"{action}: {plural} must be a list of dicts, not {items!r}")
    branches = tuple(
        _branch(f"{action}: {plural}[{place}]", item, aggregator, only_children=only_children, keys=keys)
        for place, item in enumerate(items)
    )
    if len(branches) > MAX_BRANCHES:
        raise HandlerError(f"{action}: {len(branches)} {plural} exceed the limit of {MAX_BRANCHES}")
    on_failure, max_failures, first_success, max_concurrency = policy
    if on_failure not in get_args(OnFailure):
        raise HandlerError(f"{action}: on_failure must be one of {', '.join(get_args(OnFailure))}, not {on_failure!r}")
    if not isinstance(first_success, bool):
        raise HandlerError(f"{action}: first_success must be True or False, not {first_success!r}")
    tolerated = arguments.whole(max_failures, f"{action}: max_failures", range(MAX_BRANCHES + 1))
    if tolerated is None:
        tolerated = max(len(branches) - 1, 0) if first_success else 0
    at_most = arguments.whole(max_concurrency, f"{action}: max_concurrency", range(1, MAX_BRANCHES + 1))
    return FanOut(branches, aggregator, at_most, on_failure == "finish_all", tolerated, first_success)


def _branch(
    where: str, item: object, aggregator: str, *, only_children: bool, keys: Keys
) -> DispatchTask | RunBlueprint:
    if not isinstance(item, Mapping):
        raise HandlerError(f"{where} must be a dict, not {item!r}")
    is_child = only_children or "blueprint" in item
    given = {("task_type" if key == "type" and not is_child else key): value for key, value in item.items()}
    known = keys[is_child]
    for key in given:
        if key not in known:
            raise HandlerError(f"{where} has the unknown key {key!r}; known are {', '.join(known)}")
    declared = given.get("transitions") or {}
    if not isinstance(declared, Mapping) or declared.get("success", aggregator) != aggregator:
        raise HandlerError(f"{where}: 'success' must lead to the aggregator {aggregator!r}, not as in {declared!r}")
    if is_child and (unknown := set(declared) - set(CHILD_OUTCOMES)):
        raise HandlerError(f"{where}: a child job has no outcome {min(unknown)!r}; it has {', '.join(CHILD_OUTCOMES)}")
    given["transitions"] = {**declared, "success": aggregator}
    return child_job(where, given) if is_child else task(where, given)
