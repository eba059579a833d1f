"""The next version of the blueprints of ``mixed``, with one more transition of each start state."""

from __future__ import annotations

from typing import Any

from mixed import bp, small, worker

from avtomatika import F

__all__ = ["bp", "small", "worker"]


@bp.handler("begin", F.initial_data["n"] < 0)
def refuse(actions: Any) -> None:
    actions.go_to("refused")


@bp.handler(is_end="failed")
def refused() -> None: ...


@small.handler("twice", F.initial_data["n"] < 0)
def refuse_small(actions: Any) -> None:
    actions.go_to("refused")


@small.handler("refused", is_end="failed")
def refused_small() -> None: ...
