"""Checks of server, secrets, tokens and work, for ``avtomatika doctor`` and the HTTP API."""

from collections.abc import Iterable, Iterator
from itertools import chain
from time import time
from typing import Any

from .core.explain.reason import count, span
from .core.explain.tasks import unavailable
from .core.job import JobStatus
from .errors import HistoryUnavailableError
from .store import Finding, HealthState, Overview, Store, check_server
from .tokens import Clients, Workers

#: Orchestrators announce their plans every few seconds.
_ORCHESTRATOR_WITHIN_MS = 30_000
#: Messages that wait longer are a problem.
_LONG_WAIT_MS = 300_000
#: Receivers of webhooks reject a signature that is older than five minutes.
_LARGEST_DIFFERENCE_MS = 60_000
#: Maximum number of workers that are named.
_SHOWN_WORKERS = 3


def server_findings(store: Store) -> Iterator[Finding]:
    """Check how the server stores jobs, the archive, the secrets that processes sign with, and work that cannot
    proceed. Raises UnavailableError."""
    seen = store.overview.read()
    yield from chain(*map(check_server, seen.servers))
    yield from _shards(*store.placement.counts(), len(seen.servers))
    secrets = {*store.keyring.fingerprints(), store.keyring.fingerprint}  # also a full server can be checked
    yield _secret(len(secrets), is_configured=store.keyring.is_configured)
    yield _clock(round(abs(time() * 1000 - seen.at_ms)))
    yield from (each for each in (*_of_queues(seen), *_of_others(seen)) if each.count)
    if store.archive is not None and seen.archive_error is None:
        try:
            store.archive.load("")  # any read
            yield Finding("history", HealthState.OK, "ended jobs are archived before they are deleted")
        except HistoryUnavailableError as error:
            yield _archive_fault(str(error))


def _shards(here: int, recorded: int, servers: int) -> Iterator[Finding]:
    """Yield the finding about the number of shards of this host's settings, if there are several."""
    if here < recorded:
        text = f"AVTOMATIKA_SHARDS is {here}, but the installation has {recorded}: set it on all hosts"
        yield Finding("shards", HealthState.FAULT, text)
    elif here > recorded:
        text = f"AVTOMATIKA_SHARDS is {here}, the installation has {recorded}: no orchestrator has started with it"
        yield Finding("shards", HealthState.WARNING, text)
    elif here > 1:
        yield Finding("shards", HealthState.OK, f"{here}, on {count(servers, 'server')}")


def _archive_fault(error: str) -> Finding:
    text = f"{error}. Ended jobs stay on the server until it is available"
    return Finding("history", HealthState.FAULT, text, "history_unavailable", 1)


def _clock(difference_ms: int) -> Finding:
    """Return the finding about the clock of this host, which signs requests to S3 and webhooks."""
    text = f"this host's and the server's differ by {span(difference_ms)}"
    if difference_ms < _LARGEST_DIFFERENCE_MS:
        return Finding("clock", HealthState.OK, text)
    return Finding("clock", HealthState.FAULT, f"{text}: S3 servers and receivers of webhooks reject what it signs")


def token_findings(clients: Clients, workers: Workers | None) -> Iterator[Finding]:
    """Check who can authenticate, over HTTP and on the broker; nothing without *workers*."""
    if workers is None:
        return
    for name, problem in {"clients.toml": clients.problem, "workers.toml": workers.problem}.items():
        if problem is not None:
            yield Finding(name, HealthState.FAULT, f"{problem}. The last valid version is in effect")
    if clients.are_configured:
        yield Finding("clients", HealthState.OK, "have tokens")
    else:
        yield Finding(
            "clients", HealthState.FAULT, "no client can authenticate: set CLIENT_TOKEN or create clients.toml"
        )
    if not workers.are_configured:
        text = "not authenticated: every client of the broker can answer tasks. Set WORKER_TOKEN or create workers.toml"
        yield Finding("broker links", HealthState.WARNING, text)
        yield Finding("HTTP links", HealthState.OK, "reject all workers: neither WORKER_TOKEN nor workers.toml exists")
        return
    text = "results must be signed with the worker's token; other messages on the broker are trusted"
    yield Finding("broker links", HealthState.OK, text)
    yield Finding("HTTP links", HealthState.OK, "authenticate workers by token")


def _secret(used: int, *, is_configured: bool) -> Finding:
    """Return the finding about the number of secrets *used* within a day."""
    if not is_configured:
        text = "not set: the server stores one, and every client of the server can sign messages"
        if used > 1:
            return Finding(
                "SECRET_KEY", HealthState.FAULT, f"{text}; other processes use a different one. Set it on all hosts"
            )
        return Finding("SECRET_KEY", HealthState.WARNING, text)
    if used > 1:
        text = "differs between processes started within a day: they reject each other's messages"
        return Finding("SECRET_KEY", HealthState.FAULT, f"{text}. Set the same on all hosts")
    return Finding("SECRET_KEY", HealthState.OK, "set, and the same in all processes started within a day")


def overview(store: Store, seen: Overview, findings: Iterable[Finding] = ()) -> dict[str, Any]:
    """Return figures and problems for ``OverviewSchema``; *findings* are of the tokens."""
    found = problems(seen, [_secret(seen.secrets, is_configured=store.keyring.is_configured), *findings])
    return {"now": seen, "hour": seen.hour, "day": seen.day, "problems": found}


def problems(seen: Overview, findings: Iterable[Finding]) -> list[Finding]:
    """Return what is wrong now, faults first; of *findings* the faults."""
    found = [*_of_queues(seen), *_of_others(seen)]
    for each in (*chain(*map(check_server, seen.servers)), *findings):
        if each.state is HealthState.FAULT or (each.state is HealthState.WARNING and each.subject == "persistence"):
            found.append(each)
    return sorted(found, key=lambda finding: finding.state is not HealthState.FAULT)


def _of_queues(seen: Overview) -> Iterator[Finding]:
    if seen.silent_ms > _ORCHESTRATOR_WITHIN_MS:
        unfinished = sum(number for status, number in seen.jobs.items() if not JobStatus(status).is_final)
        text = f"no orchestrator runs: {count(unfinished, 'job')} cannot proceed. Start one"
        yield Finding("orchestrators", HealthState.FAULT, text, "no_orchestrator", unfinished)
    elif seen.unserved_shards:
        text = f"none serves the shards {', '.join(map(str, seen.unserved_shards))}: their jobs cannot proceed"
        yield Finding("orchestrators", HealthState.FAULT, text, "shards_unserved", len(seen.unserved_shards))
    workers = {queue.name: able for queue, able in seen.served()}
    for queue in seen.queues:
        able = workers.get(queue.name)
        wait = f"{count(queue.waiting, 'message')} waiting, the first for {span(queue.waited_ms)}"
        if queue.paused_ms is not None:
            text = f"paused {span(seen.at_ms - queue.paused_ms)} ago by {queue.paused_by}: no consumer takes from it"
            text += f". {wait}" if queue.waiting else ""
            yield Finding(queue.name, HealthState.WARNING, text, "queue_paused", queue.waiting)
        elif queue.waiting and able is not None and not any(worker.takes_tasks for worker in able):
            text = f"{unavailable(queue.name, [worker.status for worker in able])} {wait}"
            yield Finding(queue.name, HealthState.FAULT, text, "no_worker", queue.waiting)
        elif queue.waited_ms > _LONG_WAIT_MS:
            yield Finding(queue.name, HealthState.WARNING, wait, "long_wait", queue.waiting)


def _of_others(seen: Overview) -> Iterator[Finding]:
    for limit in seen.limits:
        if limit.paused_at_ms is not None:
            text = f"paused {span(seen.at_ms - limit.paused_at_ms)} ago by {limit.paused_by}: none of its tasks starts"
            yield Finding(limit.name, HealthState.WARNING, text, "limit_paused", max(limit.waiting, 1))
    for queue, number in seen.dead_letters.items():
        text = f"{count(number, 'dead letter')}: requeue or delete them"
        yield Finding(queue, HealthState.WARNING, text, "dead_letters", number)
    if quarantined := seen.jobs[JobStatus.QUARANTINED]:
        text = f"{count(quarantined, 'job')} quarantined: retry or cancel them"
        yield Finding("jobs", HealthState.WARNING, text, "quarantined", quarantined)
    for status, fault in {"lost": "missed heartbeats", "revoked": "revoked: their results are ignored"}.items():
        if ids := [worker.worker_id for worker in seen.workers if worker.status == status]:
            text, names = f"{count(len(ids), 'worker')} {fault}", ", ".join(ids[:_SHOWN_WORKERS])
            yield Finding(names, HealthState.WARNING, text, f"workers_{status}", len(ids))
    for name, error in seen.schedule_errors.items():
        yield Finding(name, HealthState.WARNING, f"the schedule could not run: {error}", "schedule_error", 1)
    if seen.archive_error is not None:
        yield _archive_fault(seen.archive_error)
    if (number := len(seen.all_versions)) > 1:
        text = f"processes of {number} versions run"
        yield Finding(", ".join(seen.all_versions), HealthState.WARNING, text, "versions_mixed", number)
