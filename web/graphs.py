"""Graphs as DOT, SVG, PNG or JSON, as the query or the ``Accept`` header requests."""

from functools import lru_cache
from typing import Any

from flask import Response, jsonify, request

from avtomatika.core.graph.dot import dot
from avtomatika.core.graph.job_path import JobPath
from avtomatika.core.graph.traffic import LiveTraffic
from avtomatika.core.plan import Plan
from avtomatika.drawing import draw
from avtomatika.schemas.api_graphs import traffic_as_json, visit_as_json
from avtomatika.schemas.responses import schema_of
from avtomatika.schemas.server_answers import State

#: Formats of graphs and their media types.
MEDIA_TYPES = {
    "dot": "text/vnd.graphviz",
    "svg": "image/svg+xml",
    "png": "image/png",
    "json": "application/json",
}
#: Names in a graph come from users, so an image must not run scripts or load resources.
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
#: A graph changes only with its blueprint, so a rendered image is reused.
_draw_once = lru_cache(maxsize=32)(draw)


def graph_response(plan: Plan, *, format: str | None, overlay: JobPath | LiveTraffic | None = None) -> Response:
    """Respond with the graph of *plan* and its *overlay* in *format*, or else in the format that the request
    accepts."""
    wanted = format or _accepted()
    response = _as_json(plan, overlay) if wanted == "json" else _as_picture(plan, overlay, wanted)
    response.vary.add("Accept")
    return response


def _accepted() -> str:
    """Return the preferred format of the ``Accept`` header, by default DOT."""
    names = {media_type: name for name, media_type in MEDIA_TYPES.items()}
    return names[request.accept_mimetypes.best_match(names, default=MEDIA_TYPES["dot"])]


def _as_picture(plan: Plan, overlay: JobPath | LiveTraffic | None, format: str) -> Response:
    source = dot(plan, overlay=overlay.traffic if isinstance(overlay, LiveTraffic) else overlay)
    content = source.encode() if format == "dot" else _draw_once(source, format)
    response = Response(content, mimetype=MEDIA_TYPES[format])
    response.headers["Content-Security-Policy"] = _PICTURE_POLICY
    return response


def _as_json(plan: Plan, overlay: JobPath | LiveTraffic | None) -> Response:
    graph: dict[str, Any] = {
        "blueprint": plan.blueprint,
        "plan": plan.plan_hash,
        "nodes": schema_of(State)(many=True, exclude=["transitions"]).dump(plan.states.values()),
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
    if isinstance(overlay, JobPath):
        graph |= {
            "path": overlay.states,
            "present": overlay.present,
            "stays": [visit_as_json(visit) for visit in overlay.visits],
        }
    elif overlay is not None:
        graph["live"] = traffic_as_json(overlay)
    return jsonify(graph)
