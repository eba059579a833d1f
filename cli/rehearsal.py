"""Rehearsals of recorded jobs in memory: what a retry, a fork or the current code of a blueprint would do with them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.client.recording import Recording
from avtomatika.core.job import JobStatus
from avtomatika.errors import AvtomatikaError
from avtomatika.loading import load_blueprints

from .arguments import blueprints_option
from .output import C, print_json, print_table
from .terminal import progress

#: Jobs that are rehearsed before many are retried.
MOST_REHEARSED = 50
#: Jobs that are requested at once.
_AT_ONCE = 8
_ENDED = [str(status) for status in JobStatus if status.is_final]


def rehearsal_options(command: C) -> C:
    """Add ``--rehearse`` and ``--blueprints``."""
    text = "Show in memory, with the recorded results, what would happen (of many jobs: to the first 50). Send nothing "
    text += "without --yes, nor if one would end in an error."
    return click.option("--rehearse", is_flag=True, help=text)(blueprints_option(command))


def show_rehearsal(
    api: Client, job_ids: Sequence[str], blueprints: str, at: str | int, changes: Mapping[str, Any] | None = None
) -> bool:
    """Print what a job that continues each one *at* a point with *changes* would do; return whether all could start and
    none would end in an error."""
    from avtomatika.testing.replay import replayed_path

    courses: dict[tuple[str, ...], list[str]] = defaultdict(list)
    replayed = _replaying(blueprints, at=at, changes=changes)
    failures = 0
    for recording in _recordings(api, job_ids):
        try:
            ended = replayed(recording)
        except AvtomatikaError as error:
            course: tuple[str, ...] = (f"refused: {error}",)
            failures += 1
        else:
            course = replayed_path(ended)
            failures += ended.status is JobStatus.ERROR
        courses[course].append(recording.job["id"])
    rows = [{"jobs": len(ids), "would_do": " → ".join(course), "example": ids[0]} for course, ids in courses.items()]
    print_table(sorted(rows, key=lambda row: -int(str(row["jobs"]))), ("jobs", "would_do", "example"))
    click.echo(f"{len(job_ids):,} jobs rehearsed, {failures:,} would fail to run; nothing was sent", err=True)
    return not failures


def rehearse_blueprint(
    api: Client, name: str, blueprints: str, *, since: str | None, limit: int, graph: Path | None, as_json: bool
) -> bool:
    """Run the current code of blueprint *name* against its last ended jobs; print and draw the paths that change, and
    return whether any does."""
    from avtomatika.testing.replay import recorded, recorded_path, replayed_path

    from .blueprints import drawn, plans_of

    found = api.jobs(blueprint=name, status=_ENDED, created_after=since, page_size=200)
    ids = [job["id"] for job in islice(found, limit)]
    replayed, changes, histories = _replaying(blueprints), defaultdict[Any, list[str]](list), []
    for recording in _recordings(api, ids):
        ended = replayed(recording)
        before, now = recorded_path(recording), replayed_path(ended)
        histories.append((recorded(recording), ended.history))
        if before != now:
            same = next(
                place for place, pair in enumerate(zip((*before, ""), (*now, ""), strict=False)) if pair[0] != pair[1]
            )
            after = before[same - 1] if same else None
            changes[after, before[same:], now[same:]].append(recording.job["id"])
    rows = [
        {"jobs": len(each), "after": after, "before": " → ".join(before), "now": " → ".join(now), "example": each[0]}
        for (after, before, now), each in sorted(changes.items(), key=lambda item: -len(item[1]))
    ]
    changed = sum(map(len, changes.values()))
    if as_json:
        print_json({"jobs": len(ids), "changed": changed, "changes": rows})
    elif rows:
        print_table(rows, ("jobs", "after", "before", "now", "example"))
    click.echo(f"{len(ids):,} jobs rehearsed: the paths of {changed:,} change", err=True)
    if graph is not None:
        from avtomatika.core.graph.path_changes import PathChanges

        [plan] = plans_of(blueprints, name)
        graph.write_bytes(drawn(plan, graph.suffix.removeprefix("."), PathChanges.of(plan, histories, changed)))
    return bool(changed)


def _replaying(blueprints: str, **options: Any) -> Any:
    """Return the function that replays a recording with the code here."""
    from avtomatika.settings import Settings
    from avtomatika.testing.replay import replay
    from avtomatika.tokens import Clients

    from .orchestrator import client_of

    clients = Clients(path=Settings.from_environment().clients_config_path)
    return partial(replay, blueprints=load_blueprints(blueprints), client_of=client_of(clients), **options)


def _recordings(api: Client, job_ids: Sequence[str]) -> Iterator[Recording]:
    """Request the jobs with their histories, several at once."""
    with progress("rehearsing") as show, ThreadPoolExecutor(_AT_ONCE) as threads:
        for done, recording in enumerate(threads.map(api.export, job_ids), start=1):
            yield recording
            show(done, len(job_ids))
