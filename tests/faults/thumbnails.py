"""A blueprint whose task is done by the Celery application ``celery_shop``, and a worker that no test uses."""

from __future__ import annotations

from typing import Any

from avtomatika import Actions, Blueprint, Worker

bp = Blueprint("thumbnails", api_endpoint="jobs/thumbnails")
worker = Worker()


@worker.skill
def rest() -> None: ...


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Actions) -> None:
    actions.dispatch_task(
        "resize", initial_data, transitions={"success": "done", "failure": "failed"}, max_retries=1, result_timeout=60
    )


@bp.handler(is_end=True)
def done(result: Any) -> Any:
    return result


@bp.handler(is_end="failed")
def failed() -> None: ...
