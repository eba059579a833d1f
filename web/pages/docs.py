"""``/docs``: ``/openapi.json`` as one HTML page without external resources."""

from flask import make_response, render_template
from flask_smorest import current_api
from werkzeug import Response

from ..routes import Routes

routes = Routes("docs", __name__, template_folder="templates")


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
