"""``avtomatika workers``: list, show, drain and revoke workers."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.core.explain.reason import span

from .api import api_command, api_options, each_command
from .output import print_fields, print_table

#: Tasks that are named in a row.
_SHOWN = 2
_TASK_COLUMNS = ("skill", "running", "task_id", "job_id")
_COLUMNS = ("id", "status", "load", "now", "skills", "links", "version", "last_heartbeat")


@click.group("workers")
@api_options
def command() -> None:
    """List, drain and revoke workers."""


@api_command(command, "list")
def list_workers(api: Client, as_json: bool) -> None:
    """List workers that sent a heartbeat in the last two minutes."""
    found = api.workers()
    print_table(found if as_json else [row_of(worker) for worker in found], _COLUMNS, as_json=as_json)


@api_command(command)
@click.argument("worker_id")
def show(api: Client, worker_id: str, as_json: bool) -> None:
    """Show a worker, and the tasks that it ran at its last heartbeat."""
    worker: dict[str, Any] = dict(api.worker(worker_id))
    more = {name: worker[name] for name in ("drain_requested_by", "reputation", "resources", "costs")}
    print_fields(worker if as_json else {**row_of(worker), **more, "now": None}, as_json=as_json)
    if not as_json:
        print_table([{**task, "running": _running(task)} for task in worker["tasks"]], _TASK_COLUMNS)


@each_command(command, "WORKER_ID")
def drain(api: Client, worker_id: str) -> str:
    """Let workers finish their tasks and take no new ones.

    They requeue tasks that they have not started, within seconds, and stay registered. They remain drained, also
    after a restart, until `avtomatika workers resume`, or for 30 days.
    """
    api.drain_worker(worker_id)
    return "is draining"


@each_command(command, "WORKER_ID")
def resume(api: Client, worker_id: str) -> str:
    """Let drained workers take tasks again."""
    api.resume_worker(worker_id)
    return "is resumed"


@each_command(command, "WORKER_ID")
def revoke(api: Client, worker_id: str) -> str:
    """Reject all requests, messages and results of workers.

    Within two seconds, whatever their tokens, and until `avtomatika workers allow`. Their tasks are requeued when
    their leases expire. Workers that are not running can be revoked, too.
    """
    api.revoke_worker(worker_id)
    return "is revoked"


@each_command(command, "WORKER_ID")
def allow(api: Client, worker_id: str) -> str:
    """Let revoked workers authenticate again, if their tokens are valid."""
    api.allow_worker(worker_id)
    return "is allowed"


def _running(task: Mapping[str, Any]) -> str:
    return "" if task["running_ms"] is None else span(task["running_ms"])


def _now(tasks: Sequence[Mapping[str, Any]]) -> str:
    named = [f"{task['skill'] or task['task_id']} {_running(task)}".rstrip() for task in tasks[:_SHOWN]]
    return ", ".join([*named, *([f"{len(tasks) - _SHOWN} more"] if len(tasks) > _SHOWN else [])])


def row_of(worker: Mapping[str, Any]) -> dict[str, object]:
    """Return the columns of a worker's row."""
    slots = worker.get("concurrency")
    return {
        "id": worker["id"],
        "status": _status(worker),
        "load": f"{worker.get('running', 0)} of {slots}" if slots else str(worker.get("running", 0)),
        "now": _now(worker.get("tasks", ())),
        "skills": ", ".join(skill["name"] for skill in worker["skills"]),
        "links": ", ".join(f"{link['address']} {link['state']}" for link in worker.get("links", [])),
        "version": worker["version"],
        "last_heartbeat": worker["last_heartbeat_at"][11:23],
    }


def _status(worker: Mapping[str, Any]) -> str:
    reason = (worker.get("unfit") or {}).get("reason")
    parts = [worker["status"], *(["standby"] if worker.get("standby") else []), *([str(reason)] if reason else [])]
    return ", ".join(parts)
