"""``/docs``: ``/openapi.json`` as one HTML page without external resources; and the protocol of workers."""

from flask import jsonify, make_response, render_template
from flask_smorest import current_api
from werkzeug import Response

from ..gateway.openapi import worker_document
from ..routes import Routes

routes = Routes("docs", __name__, template_folder="templates", description="Describe the API")


@routes.get("/docs")
@routes.response(200, {"type": "string"}, content_type="text/html")
@routes.doc(security=[])
def show_docs() -> Response:
    """Show this API as an HTML page"""
    response = make_response(render_template("docs.html", spec=current_api.spec.to_dict()))
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    return response


@routes.get("/api/v1/worker-openapi.json")
@routes.response(200, {"type": "object"})
@routes.doc(security=[])
def show_worker_protocol() -> Response:
    """Show the OpenAPI document of the worker protocol"""
    return jsonify(worker_document())
