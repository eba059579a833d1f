"""Workers: their state, skills and reputation."""

from avtomatika.schemas.responses import list_of
from avtomatika.schemas.server_answers import WorkerInfo
from avtomatika.store import WorkerRecord

from ..auth import require_operator
from ..routes import Routes
from ..services import services

routes = Routes("workers", __name__, url_prefix="/api/v1/workers", description="Show workers")
routes.before_request(require_operator)


@routes.get("")
@routes.response(200, list_of("workers", WorkerInfo))
def list_workers() -> dict[str, list[WorkerRecord]]:
    """List the workers that reported lately; for operators"""
    return {"workers": services().store.registry.workers()}
