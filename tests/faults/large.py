"""A blueprint whose tasks exchange values of several MB, and its worker."""

from __future__ import annotations

from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="large", api_endpoint="jobs/large")
worker = Worker()


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("make", {"size": initial_data["size"]}, transitions={"success": "measure"})


@bp.handler
def measure(rows: str, actions: Any) -> None:
    actions.dispatch_task("measure", {"rows": rows}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(rows: str, length: int) -> dict[str, Any]:
    return {"rows": rows, "length": length}


@worker.skill("make")
def make(params: dict[str, Any]) -> dict[str, Any]:
    return {"rows": "x" * params["size"]}


@worker.skill("measure")
def measure_rows(params: dict[str, Any]) -> dict[str, Any]:
    return {"length": len(params["rows"])}
