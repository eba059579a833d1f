"""Blueprints: their plans and graphs."""

from typing import Any

from flask import Response

from avtomatika.core.names import is_user_name
from avtomatika.core.plan import Plan
from avtomatika.schemas.api_requests import BlueprintGraphQuerySchema
from avtomatika.schemas.responses import list_of
from avtomatika.schemas.server_answers import BlueprintPlan, BlueprintSummary

from ..auth import require_operator
from ..graphs import graph_response
from ..routes import Routes
from ..services import services

routes = Routes("blueprints", __name__, url_prefix="/api/v1/blueprints", description="Show blueprints")


@routes.get("")
@routes.response(200, list_of("blueprints", BlueprintSummary))
def list_blueprints() -> dict[str, list[Plan]]:
    """List the blueprints of this server"""
    return {"blueprints": [plan for name, plan in sorted(services().plans.items()) if is_user_name(name)]}


@routes.get("/<name>")
@routes.response(200, BlueprintPlan)
def show_blueprint(name: str) -> Plan:
    """Show the plan of a blueprint: states, queues, routing rules"""
    return services().plan(name)


@routes.get("/<name>/graph")
@routes.arguments(BlueprintGraphQuerySchema, location="query")
@routes.response(200, {"type": "string"}, content_type="text/vnd.graphviz")
def show_graph(wanted: dict[str, Any], name: str) -> Response:
    """Draw the graph of a blueprint, with `live` also the state of its jobs"""
    plan = services().plan(name)
    if not wanted["live"]:
        return graph_response(plan, format=wanted["format"])
    require_operator()
    return graph_response(plan, format=wanted["format"], overlay=services().store.traffic.of(plan))
