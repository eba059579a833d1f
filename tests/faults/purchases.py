"""Blueprint and worker of the process test with signals and unique keys: one purchase from a shelf at a time, paid in
two parts."""

from __future__ import annotations

from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(
    name="purchases", api_endpoint="jobs/purchases", unique_key="shelf-{initial_data[shelf]}", on_conflict="queue"
)
worker = Worker(worker_type="storm")


@bp.handler(is_start=True)
def pack(actions: Any) -> None:
    actions.dispatch_task("pack", {}, transitions={"success": "ask"})


@bp.handler
def ask(actions: Any) -> None:
    actions.wait_for("paid", transitions={"received": "ask_again"})


@bp.handler
def ask_again(signal_data: dict[str, int], job_data: dict[str, Any], actions: Any) -> None:
    job_data["first"] = signal_data["part"]
    actions.wait_for("paid", transitions={"received": "done"})


@bp.handler(is_end=True)
def done(first: int, signal_data: dict[str, int]) -> list[int]:
    return [first, signal_data["part"]]


@worker.skill(name="pack")
def put_into_box(params: dict[str, Any]) -> dict[str, Any]:
    return {}
