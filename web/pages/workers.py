"""The workers that reported lately: their skills, their load and their links."""

from flask import Response

from ..auth import require_operator
from ..services import services
from .rendering import page
from .routes import routes


@routes.get("/workers")
def show_workers() -> Response:
    """List workers"""
    require_operator()
    workers = services().store.registry.workers()
    return page("workers.html", workers=workers, versions={worker.record.get("version") for worker in workers})
