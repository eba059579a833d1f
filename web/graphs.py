"""Graphs as answers: DOT, SVG, PNG or JSON, as the query or the ``Accept`` header asks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from flask import Response, jsonify, request

from avtomatika.core.graph.dot import dot
from avtomatika.core.graph.job_path import JobPath
from avtomatika.core.graph.traffic import LiveTraffic
from avtomatika.core.plan import Plan
from avtomatika.drawing import draw
from avtomatika.schemas.api import StateSchema
from avtomatika.schemas.api_graphs import StaySchema, traffic_as_json

#: What a graph may be asked as.
MEDIA_TYPES = {
    "dot": "text/vnd.graphviz",
    "svg": "image/svg+xml",
    "png": "image/png",
    "json": "application/json",
}
#: Names in a graph come from users: a picture may run and load nothing.
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
#: A graph changes with its blueprint only, so that one drawing serves many.
_draw_once = lru_cache(maxsize=32)(draw)


def graph_response(plan: Plan, *, format: str | None, over: JobPath | LiveTraffic | None = None) -> Response:
    """The graph of *plan* and what lies *over* it, as *format* or else as the request accepts it."""
    wanted = format or _accepted()
    response = _as_json(plan, over) if wanted == "json" else _as_picture(plan, over, wanted)
    response.vary.add("Accept")
    return response


def _accepted() -> str:
    """The format that the ``Accept`` header likes best; DOT where it does not care."""
    names = {media_type: name for name, media_type in MEDIA_TYPES.items()}
    return names[request.accept_mimetypes.best_match(names, default=MEDIA_TYPES["dot"])]


def _as_picture(plan: Plan, over: JobPath | LiveTraffic | None, format: str) -> Response:
    source = dot(plan, overlay=over.traffic if isinstance(over, LiveTraffic) else over)
    content = source.encode() if format == "dot" else _draw_once(source, format)
    response = Response(content, mimetype=MEDIA_TYPES[format])
    response.headers["Content-Security-Policy"] = _PICTURE_POLICY
    return response


def _as_json(plan: Plan, over: JobPath | LiveTraffic | None) -> Response:
    graph: dict[str, Any] = {
        "blueprint": plan.blueprint,
        "plan": plan.plan_hash,
        "nodes": StateSchema(many=True, exclude=["transitions"]).dump(plan.states.values()),
        "edges": [
            {
                "source": state,
                "target": transition.target,
                "outcome": transition.outcome,
                "task_type": transition.task_type,
                "guard": transition.guard,
                "via": transition.via,
            }
            for state, transition in plan.edges()
        ],
    }
    if isinstance(over, JobPath):
        graph |= {"path": over.states, "present": over.present, "stays": StaySchema(many=True).dump(over.visits)}
    elif over is not None:
        graph["live"] = traffic_as_json(over)
    return jsonify(graph)
