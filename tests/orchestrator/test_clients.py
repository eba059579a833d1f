"""Handlers receive the client that created the job, as currently in clients.toml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avtomatika import Blueprint, F
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.orchestrator.unit_of_work import HandlerServices

from ..support.orchestrators import Stage


def test_plan_and_params_of_the_client_reach_conditions_and_handlers(stage: Callable[..., Stage]) -> None:
    bp = Blueprint(name="plans")

    @bp.handler("start", F.client.plan == "gold", is_start=True)
    def start_quickly(client: Any, actions: Any) -> None:
        actions.go_to("gold" if client.params["language"] == "eo" else "other")

    @bp.handler("start")
    def start(actions: Any) -> None:
        actions.go_to("other")

    @bp.handler(is_end=True)
    def gold() -> str:
        return "gold"

    @bp.handler(is_end=True)
    def other() -> str:
        return "other"

    house = stage(bp)
    house.orchestrator(services=HandlerServices(client_of=lambda name: ClientInfo(name, "gold", {"language": "eo"})))

    assert house.turn_until_status(house.create(bp), "finished", "error").result == "gold"
