"""The workers that reported lately: what they do, their skills and links; drain and resume."""

from flask import Response

from ..auth import caller, require_operator
from ..services import services
from .rendering import page
from .routes import routes, see_other


@routes.get("/workers")
def show_workers() -> Response:
    """List workers"""
    require_operator()
    workers = services().store.registry.workers()
    return page("workers.html", workers=workers, versions={worker.record.get("version") for worker in workers})


@routes.post("/workers/<worker_id>/<any(drain, resume):action>")
def drain_worker(worker_id: str, action: str) -> Response:
    """Drain a worker or resume it"""
    require_operator()
    registry = services().store.registry
    registry.drain(worker_id, by=caller().name) if action == "drain" else registry.resume(worker_id)
    return see_other("pages.show_workers")
