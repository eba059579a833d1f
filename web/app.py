"""The composition of the Flask app: routes, authentication and error handlers around a store, plans and clients."""

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from flask import Flask, Response, g
from flask.json.provider import JSONProvider
from werkzeug.exceptions import NotFound
from werkzeug.middleware.proxy_fix import ProxyFix

from avtomatika import __version__
from avtomatika.core.machine import single_task
from avtomatika.core.plan import Plan
from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import BlueprintError
from avtomatika.files.job_files import JobFiles
from avtomatika.store import Store
from avtomatika.store.job_watcher import JobWatcher
from avtomatika.tokens import Clients

from . import EXTENSION, health, metrics, pages
from .access_log import record_requests
from .api import (
    approvals,
    blueprints,
    control,
    events,
    files,
    jobs,
    lineage,
    login_links,
    overview,
    queues,
    schedules,
    signals,
    streams,
    tasks,
    workers,
)
from .api.creation import creation_routes, unknown_endpoint
from .api.job_actions import routes as job_actions
from .api.limits import routes as task_limits
from .auth import guard
from .client_limits import ClientLimits
from .compression import add_etag, compress
from .gateway import GATEWAY_ROUTES, Gateway, register_gateway
from .json_body import MAX_BYTES
from .long_poll import HeldRequests
from .openapi import CompleteApi, OperationDetails
from .pages import approval_page, docs
from .pages.rendering import page_not_found
from .problems import register_problems
from .routes import Routes, refuse_repeated_parameters
from .services import Services
from .throttling import FailureThrottle

#: Routes without a client token; ``api-docs`` is flask-smorest's, for ``/openapi.json``. The gateway requires the token
#: of a worker, the approval page a link, and the other pages a session.
PUBLIC_ROUTES = frozenset(
    {health.routes.name, docs.routes.name, "api-docs", GATEWAY_ROUTES, approval_page.routes.name, pages.routes.name}
) | {metrics.routes.name}

_CONFIG = {
    "API_TITLE": "avtomatika",
    "API_VERSION": __version__,
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/",
    "MAX_CONTENT_LENGTH": MAX_BYTES,
}
_SECURITY_SCHEMES = {
    "clientToken": {"type": "apiKey", "in": "header", "name": "X-Client-Token"},
    "bearer": {"type": "http", "scheme": "bearer"},
}

#: The routes of the API besides those that create jobs of blueprints.
_ROUTES = (
    jobs.routes,
    job_actions,
    events.routes,
    tasks.routes,
    streams.routes,
    control.routes,
    approvals.routes,
    signals.routes,
    files.routes,
    lineage.routes,
    blueprints.routes,
    workers.routes,
    queues.routes,
    schedules.routes,
    task_limits,
    overview.routes,
    login_links.routes,
    health.routes,
    docs.routes,
)


def create_app(
    *,
    store: Store,
    plans: Iterable[Plan],
    clients: Clients,
    declare: Callable[..., None],
    trusted_proxies: int = 0,
    held: HeldRequests | None = None,
    gateway: Gateway | None = None,
    job_files: JobFiles | None = None,
    rate_limit: RateLimit | None = None,
    max_new_skills: int = 1000,
    access_log: bool = False,
    metrics_token: str | None = None,
) -> Flask:
    """Create the app of one process. Workers connect over HTTP if there is a *gateway*; clients upload and download
    files if there are *job_files*.

    *held* limits the requests that wait for an event. *declare* declares the plans on the broker, and
    the queues of the skills that it is given; it is called when a new job has no route. The last *trusted_proxies*
    addresses of ``X-Forwarded-For`` are trusted. *rate_limit* applies to clients without their own; each may name
    *max_new_skills* skills without a queue within an hour. With *access_log* each request is logged. Operators may
    scrape metrics, and who has *metrics_token*.

    Raises BlueprintError if two plans share a name or an endpoint.
    """
    by_name = _by_name([*plans, single_task.PLAN])
    app = Flask("avtomatika.web", static_folder=None)
    app.config.update(_CONFIG, METRICS_TOKEN=metrics_token)
    app.json = _Json(app)
    if trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=trusted_proxies)  # type: ignore[method-assign]
    app.extensions[EXTENSION] = Services(
        store=store,
        plans=by_name,
        clients=clients,
        declare=declare,
        throttle=FailureThrottle(app),
        workers=None if gateway is None else gateway.authentication.workers,
        held=HeldRequests() if held is None else held,
        watcher=JobWatcher(store),
        files=job_files,
        limits=ClientLimits(store, rate_limit, max_new_skills),
    )
    record_requests(app, is_logged=access_log)
    app.before_request(guard(clients, public=PUBLIC_ROUTES))
    app.before_request(refuse_repeated_parameters)
    for change in (metrics.count_request, _add_headers, compress, add_etag):  # from last to first
        app.after_request(change)
    _register_routes(app, creation_routes(by_name.values()), *_ROUTES)
    app.register_blueprint(approval_page.routes)
    app.register_blueprint(pages.routes)
    app.register_blueprint(metrics.routes)
    if gateway is not None:
        register_gateway(app, gateway)
    register_problems(app)
    app.register_error_handler(NotFound, page_not_found)
    return app


def _register_routes(app: Flask, *groups: Routes) -> None:
    security: list[dict[str, list[str]]] = [{name: []} for name in _SECURITY_SCHEMES]
    api = CompleteApi(app, spec_kwargs={"security": security, "extra_plugins": [OperationDetails()]})
    for name, scheme in _SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    for routes in groups:
        api.register_blueprint(routes)
    app.add_url_rule("/api/v1/jobs/<endpoint>", view_func=unknown_endpoint, methods=["POST"])


class _Json(JSONProvider):
    """The JSON provider of Flask, with orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        value = self._prepare_response_obj(args, kwargs)
        return Response(orjson.dumps(value), content_type="application/json")


def _by_name(plans: Iterable[Plan]) -> dict[str, Plan]:
    by_name: dict[str, Plan] = {}
    for plan in plans:
        if plan.blueprint in by_name:
            raise BlueprintError("two blueprints have this name", blueprint=plan.blueprint)
        by_name[plan.blueprint] = plan
    return by_name


def _add_headers(response: Response) -> Response:
    """Forbid caches to store a response, browsers to guess its type, and other pages to embed it; tell a client with a
    rate limit how many requests are left."""
    response.headers.update(g.get("rate_limit_headers", {}))
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response
