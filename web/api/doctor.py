"""Checks of the installation, for operators."""

from avtomatika.diagnosis import server_findings, token_findings
from avtomatika.schemas.api_server import FindingListSchema
from avtomatika.store import Finding

from ..auth import require_operator
from ..routes import Routes
from ..services import services

routes = Routes("doctor", __name__, url_prefix="/api/v1/doctor", description="Check the installation")


@routes.get("")
@routes.response(200, FindingListSchema)
def list_findings() -> dict[str, list[Finding]]:
    """Check the server, secrets and tokens as this web process sees them; for operators"""
    require_operator()
    findings = [*server_findings(services().store)]
    workers = services().workers
    if workers is not None:
        findings += token_findings(services().clients, workers)
    return {"findings": findings}
