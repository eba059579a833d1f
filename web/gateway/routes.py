"""The routes that workers call. Answers are plain JSON; an error is ``{"error": ..., "code": ...}``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus
from math import isfinite
from typing import Any

import orjson
from flask import Blueprint, Flask, Response, current_app, g, request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import HTTPException

from avtomatika.core.job import Json
from avtomatika.errors import AvtomatikaError, ForbiddenError, InvalidRequestError, NotFoundError, UnauthorizedError
from avtomatika.schemas.gateway import (
    AdoptionSchema,
    EventSchema,
    HeartbeatSchema,
    ProgressSchema,
    RefreshSchema,
    RegistrationSchema,
    ResultSchema,
)
from avtomatika.tokens import WorkerAccess

from ..connections import connection_of, is_disconnected
from ..json_body import MAX_BYTES, read_json
from ..problems import detail_of, headers_of, http_detail, status_of
from ..services import services
from .adoption import adopt
from .gateway import Gateway, parsed_skills, task_body, unread_answer
from .signature import check_signature

#: Name of these routes.
GATEWAY_ROUTES = "gateway"
#: Where an app keeps its Gateway.
_EXTENSION = "avtomatika.gateway"
#: A result may be as large as any body, and is wrapped.
_MAX_BYTES = MAX_BYTES + 64 * 1024

routes = Blueprint(GATEWAY_ROUTES, __name__, url_prefix="/_worker")


def register_gateway(app: Flask, gateway: Gateway) -> None:
    """Have *app* let workers in by *gateway*."""
    app.extensions[_EXTENSION] = gateway
    app.register_blueprint(routes)


@routes.before_request
def admit() -> None:
    """Every request, whatever it is about, is by a worker and with its token."""
    request.max_content_length = _MAX_BYTES
    if request.endpoint == f"{GATEWAY_ROUTES}.{refresh_token.__name__}":
        return  # its body says who asks
    worker_id, token = _headers()
    in_path = (request.view_args or {}).get("worker_id", worker_id)
    if in_path != worker_id:
        raise UnauthorizedError("X-Worker-ID and the path name different workers")
    g.access = _gateway().admit(worker_id, token)


@routes.post("/workers/register")
def register() -> Response:
    body = _read(RegistrationSchema())
    body["version"] = body["version"] or _sdk_version()
    _own_id(body["worker_id"])
    return _json(_gateway().register(_access(), body))


@routes.patch("/workers/<worker_id>")
def beat(worker_id: str) -> Response:
    body = _read(HeartbeatSchema()) if request.content_length else HeartbeatSchema().load({})
    return _json(_gateway().heartbeat(worker_id, body))


@routes.get("/workers/<worker_id>/tasks/next")
def next_task(worker_id: str) -> Response:
    _, token = _headers()
    access, gateway, connection = _access(), _gateway(), connection_of(request)

    def is_welcome() -> bool:
        try:
            gateway.admit(worker_id, token)
        except UnauthorizedError:
            return False
        return not is_disconnected(connection)

    def hold(end: Callable[[], object]) -> AbstractContextManager[None]:
        return services().held.place(f"worker {access.name or access.basis}", connection, on_left=end)

    poll = gateway.poll(
        access,
        skills=parsed_skills(request.args.get("available_skills")),
        timeout_seconds=_timeout(request.args.get("timeout", "0")),
        is_welcome=is_welcome,
        hold=hold,
    )
    if poll.task is None:
        gateway.admit(access.worker_id, token)  # it may be unwelcome by now, and shall hear so
        return Response(status=HTTPStatus.NO_CONTENT)
    return _json(task_body(poll, now_seconds=services().store.clock.now_ms() / 1000))


@routes.post("/workers/<worker_id>/tasks/adopt")
def adopt_tasks(worker_id: str) -> Response:
    body = _read(AdoptionSchema())
    _own_id(body["worker_id"])
    gateway = _gateway()
    adopted = adopt(body["tasks"], _access(), consumer=body["consumer"], held=gateway.held, keyring=gateway.keyring)
    return _json({"adopted": list[Json](adopted)})


@routes.post("/tasks/result")
def take_result() -> Response:
    raw = request.get_data()
    try:
        body = _read(ResultSchema())
    except ForbiddenError as error:
        _gateway().note_refused(_access().worker_id, unread_answer(raw), reason=str(error))
        raise
    return _json(_gateway().settle(_own_id(body["worker_id"]), body, raw=raw))


@routes.post("/events")
def take_event() -> Response:
    body = _read(EventSchema())
    _own_id(body["worker_id"])
    if body["event_type"] != "progress":  # nothing is made of others; workers need not know
        return _json({"status": "event_ignored"})
    try:
        told = ProgressSchema().load(body["payload"])
    except ValidationError as error:
        return _json({"status": "error", "message": f"fields do not fit: {error.messages}"})
    return _json(_gateway().hear(body["worker_id"], body.get("target_task_id", ""), told))


@routes.post("/auth/token")
def give_token() -> Response:
    """Tokens for a while. They are checked with each request, as a worker's own is, and end with it."""
    worker_id, token = _headers()
    return _json(_gateway().give_tokens(_gateway().workers.identify(worker_id, token)))


@routes.post("/auth/token/refresh")
def refresh_token() -> Response:
    worker_id, _ = _headers()
    body = _load(RefreshSchema(), read_json(request))
    return _json(_gateway().refresh_tokens(worker_id, body["refresh_token"]))


#: A 401 of these would make the worker ask them again.
_TOKEN_ENDPOINTS = frozenset(f"{GATEWAY_ROUTES}.{view.__name__}" for view in (give_token, refresh_token))

# ---------------------------------------------------------------- errors


@routes.errorhandler(AvtomatikaError)
def tell(error: AvtomatikaError) -> Response:
    is_for_tokens = request.endpoint in _TOKEN_ENDPOINTS
    if isinstance(error, UnauthorizedError):
        _gateway().log_refused(_headers()[0], str(error))
        error = services().throttle.counted(error, has_token=is_for_tokens)
    status = status_of(error)
    if status is None:
        raise error
    if isinstance(error, UnauthorizedError) and is_for_tokens:
        status = HTTPStatus.FORBIDDEN
    if isinstance(error, InvalidRequestError):
        status = HTTPStatus.BAD_REQUEST
    # "not found" is what makes a worker of the SDK register again
    text = f"{error.kind} {error.name!r} not found" if isinstance(error, NotFoundError) else detail_of(error)
    response = _json({"error": text, "code": error.code}, status)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers.update(headers_of(error))
    return response


@routes.errorhandler(HTTPException)
def tell_of_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return _json({"error": http_detail(error), "code": status.name.lower()}, status)


# ---------------------------------------------------------------- inside


def _gateway() -> Gateway:
    found: Gateway = current_app.extensions[_EXTENSION]
    return found


def _access() -> WorkerAccess:
    access: WorkerAccess = g.access
    return access


def _headers() -> tuple[str, str]:
    """Worker id and token; a token in the address would end up in logs, so it is not looked for there."""
    return request.headers.get("X-Worker-ID", ""), request.headers.get("X-Worker-Token", "")


def _sdk_version() -> str:
    """What a worker of the public SDK says of itself."""
    spoken = request.headers.get("X-RXON-Version", "")[:32]
    return f"rxon {spoken}" if spoken else ""


def _own_id(worker_id: str) -> str:
    """The id in a body, which must be that of the token."""
    if worker_id != _access().worker_id:
        raise UnauthorizedError("X-Worker-ID and the body name different workers")
    return worker_id


def _read(schema: Schema) -> dict[str, Any]:
    """The body, whose signature is right if it has one and the worker's own token, which signs, is at hand."""
    body = read_json(request)
    worker_id, token = _headers()
    if not _access().is_by_session:
        check_signature(body, worker_id=worker_id, token=token)
    return _load(schema, body)


def _load(schema: Schema, body: dict[str, Json]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(body)
    except ValidationError as error:
        raise InvalidRequestError(f"fields do not fit: {error.messages}") from None
    return loaded


def _json(body: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")


def _timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds < 0:
        raise InvalidRequestError(f"timeout={text!r} must be a number of seconds from 0")
    return seconds
