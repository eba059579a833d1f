"""Limits of tasks, for operators."""

from typing import Any

from avtomatika.core.limits import LimitValues, limit_name
from avtomatika.schemas.api_requests import LimitSchema
from avtomatika.schemas.responses import list_of
from avtomatika.schemas.server_answers import LimitInfo

from ..auth import caller, require_operator
from ..routes import Routes
from ..services import services

routes = Routes("limits", __name__, url_prefix="/api/v1/limits", description="Limit tasks")
routes.before_request(require_operator)

_PATH = "/<any(skill, blueprint, client, key):kind>/<path:name>"


@routes.get("")
@routes.response(200, list_of("limits", LimitInfo))
def list_limits() -> dict[str, Any]:
    """List the limits that are defined, paused or in use; for operators"""
    return {"limits": services().store.limits.all().values()}


@routes.get(_PATH)
@routes.response(200, LimitInfo)
def show_limit(kind: str, name: str) -> Any:
    """Show a limit, also one that is not defined; for operators"""
    return services().store.limits.find(limit_name(kind, name))


@routes.put(_PATH)
@routes.arguments(LimitSchema)
@routes.response(200, LimitInfo)
def put_limit(wanted: dict[str, Any], kind: str, name: str) -> Any:
    """Define a limit or replace its values; for operators"""
    return services().store.limits.put(limit_name(kind, name), LimitValues.of(**wanted))


@routes.delete(_PATH)
@routes.response(204)
def remove_limit(kind: str, name: str) -> None:
    """Remove the values of a limit; for operators"""
    services().store.limits.remove(limit_name(kind, name))


@routes.post(f"{_PATH}/<any(pause, resume):action>")
@routes.response(200, LimitInfo)
def pause_limit(kind: str, name: str, action: str) -> Any:
    """Start no tasks of a skill, blueprint, client or key until it is resumed; for operators"""
    return services().store.limits.set_paused(limit_name(kind, name), caller().name if action == "pause" else "")
