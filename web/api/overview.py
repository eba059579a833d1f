"""Figures, problems and checks of the installation, for operators."""

from typing import Any

from avtomatika.diagnosis import overview, server_findings, token_findings
from avtomatika.schemas import server_answers as answers
from avtomatika.schemas.responses import list_of
from avtomatika.store import Finding

from ..auth import require_operator
from ..routes import Routes
from ..services import services

routes = Routes("installation", __name__, url_prefix="/api/v1", description="Watch and check the installation")
routes.before_request(require_operator)


@routes.get("/overview")
@routes.response(200, answers.Overview)
def show_overview() -> dict[str, Any]:
    """Show what happens, what happened in the last hour and day, and what is wrong; for operators"""
    store = services().store
    return overview(store, store.overview.read(), token_findings(services().clients, services().workers))


@routes.get("/doctor")
@routes.response(200, list_of("findings", answers.Finding))
def list_findings() -> dict[str, list[Finding]]:
    """Check the server, secrets and tokens as this web process sees them; for operators"""
    return {"findings": [*server_findings(services().store), *token_findings(services().clients, services().workers)]}
