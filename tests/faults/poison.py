"""A blueprint whose jobs kill the orchestrator in a handler, or the worker in a skill."""

from __future__ import annotations

import os
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="poison", api_endpoint="jobs/poison")
worker = Worker(worker_type="taster")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("taste", {"deadly": initial_data["kills"] == "worker"}, transitions={"success": "digest"})


@bp.handler
def digest(initial_data: dict[str, Any], actions: Any) -> None:
    if initial_data["kills"] == "orchestrator":
        os._exit(66)
    actions.go_to("done")


@bp.handler(is_end=True)
def done() -> str:
    return "well"


@worker.skill()
def taste(params: dict[str, Any]) -> dict[str, Any]:
    if params["deadly"]:
        os._exit(66)
    return {}
