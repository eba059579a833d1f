"""A blueprint with a schedule of a second, whose jobs run a task each, and its worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from avtomatika import Blueprint, Worker

bp = Blueprint(name="clock")
worker = Worker()


@bp.schedule("tick", interval=1, catch_up=True, overlap="allow")
@bp.handler(is_start=True)
def start(scheduled_at: datetime, actions: Any) -> None:
    actions.dispatch_task("strike", {"at": scheduled_at.timestamp()}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done(struck: float) -> float:
    return struck


@worker.skill()
def strike(at: float) -> dict[str, float]:
    return {"struck": at}
