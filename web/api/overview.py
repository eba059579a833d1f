"""Figures, problems and checks of the installation, and the workers that it needs, for operators."""

from math import ceil
from statistics import mean
from typing import Any

from avtomatika.core.scaling import slots_wanted
from avtomatika.diagnosis import overview, server_findings, token_findings
from avtomatika.schemas import server_answers as answers
from avtomatika.schemas.api_requests import ScalingQuerySchema
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


@routes.get("/scaling")
@routes.arguments(ScalingQuerySchema, location="query")
@routes.response(200, answers.Scaling)
def show_scaling(wanted: dict[str, Any]) -> dict[str, Any]:
    """Show how many workers a skill needs for 95 % of its tasks to wait at most a given time; for operators"""
    store, skill = services().store, wanted["skill"]
    workers = [each for each in store.registry.workers() if each.is_online and skill in each.skills]
    per_worker = wanted["slots_per_worker"] or mean([each.record.get("concurrency") or 1 for each in workers] or [1])
    rate, seconds = store.task_times.read(skill)
    waiting, running = next(((each.waiting, each.held) for each in store.queues.all() if each.name == skill), (0, 0))
    slots = slots_wanted(rate, seconds, waiting=waiting, running=running, target_seconds=wanted["target_seconds"])
    figures = {"waiting": waiting, "running": running, "tasks_per_second": rate, "task_seconds": seconds}
    return {"workers": ceil(slots / per_worker), "slots": slots, "online_workers": len(workers), **figures}
