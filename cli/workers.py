"""``avtomatika workers``: list workers."""

from collections.abc import Mapping
from typing import Any

import click

from avtomatika.client import Client

from .api import api_command, api_options
from .output import print_table

_COLUMNS = ("id", "status", "load", "skills", "links", "version", "last_heartbeat")


@click.group("workers")
@api_options
def command() -> None:
    """List workers."""


@api_command(command, "list")
def list_workers(api: Client, as_json: bool) -> None:
    """List workers that sent a heartbeat in the last two minutes."""
    found = api.workers()
    print_table(found if as_json else [_row(worker) for worker in found], _COLUMNS, as_json=as_json)


def _row(worker: Mapping[str, Any]) -> dict[str, object]:
    slots = worker.get("concurrency")
    return {
        "id": worker["id"],
        "status": _status(worker),
        "load": f"{worker.get('running', 0)} of {slots}" if slots else str(worker.get("running", 0)),
        "skills": ", ".join(skill["name"] for skill in worker["skills"]),
        "links": ", ".join(f"{link['address']} {link['state']}" for link in worker.get("links", [])),
        "version": worker["version"],
        "last_heartbeat": worker["last_heartbeat_at"][11:23],
    }


def _status(worker: Mapping[str, Any]) -> str:
    reason = (worker.get("unfit") or {}).get("reason")
    parts = [worker["status"], *(["standby"] if worker.get("standby") else []), *([str(reason)] if reason else [])]
    return ", ".join(parts)
