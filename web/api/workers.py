"""Workers: what they do, their skills and reputation; drain, resume, revoke and allow."""

from avtomatika.schemas.responses import list_of
from avtomatika.schemas.server_answers import WorkerInfo
from avtomatika.store import WorkerRecord

from ..auth import caller, require_operator
from ..routes import Routes
from ..services import services

routes = Routes("workers", __name__, url_prefix="/api/v1/workers", description="Show, drain and revoke workers")
routes.before_request(require_operator)


@routes.get("")
@routes.response(200, list_of("workers", WorkerInfo))
def list_workers() -> dict[str, list[WorkerRecord]]:
    """List the workers that reported lately; for operators"""
    return {"workers": services().store.registry.workers()}


@routes.get("/<worker_id>")
@routes.response(200, WorkerInfo)
def show_worker(worker_id: str) -> WorkerRecord:
    """Show a worker and what it does; for operators"""
    return services().store.registry.find(worker_id)


@routes.post("/<worker_id>/drain")
@routes.response(204)
def drain_worker(worker_id: str) -> None:
    """Let a worker finish its tasks and take no new ones until it is resumed, also after a restart; for operators"""
    services().store.registry.drain(worker_id, by=caller().name)


@routes.post("/<worker_id>/resume")
@routes.response(204)
def resume_worker(worker_id: str) -> None:
    """Let a drained worker take tasks again; for operators"""
    services().store.registry.resume(worker_id)


@routes.post("/<worker_id>/revoke")
@routes.response(204)
def revoke_worker(worker_id: str) -> None:
    """Reject all requests, messages and results of a worker until it is allowed again; for operators"""
    services().store.registry.revoke(worker_id)


@routes.post("/<worker_id>/allow")
@routes.response(204)
def allow_worker(worker_id: str) -> None:
    """Let a revoked worker authenticate again; for operators"""
    services().store.registry.allow(worker_id)
