"""Liveness and readiness of this process. They need no token, so they reveal no internals."""

from itertools import chain

from avtomatika import __version__
from avtomatika.schemas.api_server import HealthSchema, ReadinessSchema, ServiceSchema
from avtomatika.store import HealthState, check_server

from .routes import Routes
from .services import services

routes = Routes("health", __name__, description="Health, without a token")


@routes.get("/livez")
@routes.response(200, HealthSchema)
@routes.doc(security=[])
def show_liveness() -> dict[str, str]:
    """Report that the process runs"""
    return {"status": "alive"}


@routes.get("/readyz")
@routes.response(200, ReadinessSchema)
@routes.doc(security=[])
def show_readiness() -> dict[str, object]:
    """Report whether jobs are accepted, and how durably they are stored"""
    servers = services().store.ping()
    for each in servers:
        each.check_room()
    findings = chain(*map(check_server, servers))
    wrong = list(dict.fromkeys(each.subject for each in findings if each.state is not HealthState.OK))
    token_files = {"clients.toml": services().clients, "workers.toml": services().workers}
    wrong += [name for name, tokens in token_files.items() if tokens is not None and tokens.problem is not None]
    return {
        "status": "ready",
        "server": servers[0].version,
        "persistence": servers[0].aof,
        "eviction": servers[0].eviction,
        "warnings": wrong,
    }


@routes.get("/_public/status")
@routes.response(200, ServiceSchema)
@routes.doc(security=[])
def show_status() -> dict[str, str]:
    """Report the name and the version of the service"""
    return {"service": "avtomatika", "version": __version__, "status": "ok"}
