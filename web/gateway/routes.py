"""The routes for workers. Responses are plain JSON; an error is ``{"error": ..., "code": ...}``."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
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
    StreamSchema,
)
from avtomatika.tokens import WorkerAccess

from ..connections import connection_of, is_disconnected
from ..json_body import MAX_BYTES, read_json
from ..problems import detail_of, headers_of, http_detail, status_of
from ..services import services
from .adoption import adopt
from .gateway import Gateway, parsed_skills, task_body, unvalidated_result
from .signature import check_signature

#: Name of the routes.
GATEWAY_ROUTES = "gateway"
#: The key of the Gateway in ``app.extensions``.
_EXTENSION = "avtomatika.gateway"
#: Maximum size of a result in addition to its data.
_ENVELOPE_BYTES = 64 * 1024

routes = Blueprint(GATEWAY_ROUTES, __name__, url_prefix="/_worker")


def register_gateway(app: Flask, gateway: Gateway) -> None:
    """Serve workers in *app* through *gateway*."""
    app.extensions[_EXTENSION] = gateway
    app.register_blueprint(routes)


@routes.before_request
def authenticate() -> None:
    """Authenticate the worker of every request."""
    request.max_content_length = max(MAX_BYTES, _gateway().max_inline_bytes) + _ENVELOPE_BYTES
    if request.endpoint == f"{GATEWAY_ROUTES}.{refresh_token.__name__}":
        return  # its body names the worker
    worker_id, token = _headers()
    in_path = (request.view_args or {}).get("worker_id", worker_id)
    if in_path != worker_id:
        raise UnauthorizedError("X-Worker-ID and the path name different workers")
    g.access = _gateway().authentication.identify(worker_id, token)


@routes.post("/workers/register")
def register() -> Response:
    body = _read(RegistrationSchema())
    body["version"] = body["version"] or _sdk_version()
    _checked_worker_id(body["worker_id"])
    return _json(_gateway().register(_access(), body))


@routes.patch("/workers/<worker_id>")
def heartbeat(worker_id: str) -> Response:
    body = _read(HeartbeatSchema()) if request.content_length else HeartbeatSchema().load({})
    return _json(_gateway().heartbeat(worker_id, body))


@routes.get("/workers/<worker_id>/tasks/next")
def next_task(worker_id: str) -> Response:
    _, token = _headers()
    access, gateway, connection = _access(), _gateway(), connection_of(request)

    def is_authorized() -> bool:
        try:
            gateway.authentication.identify(worker_id, token)
        except UnauthorizedError:
            return False
        return not is_disconnected(connection)

    def hold(end: Callable[[], object]) -> AbstractContextManager[None]:
        return services().held.hold_slot(f"worker {access.name or access.basis}", connection, on_disconnect=end)

    poll = gateway.poll(
        access,
        skills=parsed_skills(request.args.get("available_skills")),
        timeout_seconds=_timeout(request.args.get("timeout", "0")),
        is_authorized=is_authorized,
        hold=hold,
    )
    if poll.task is None:
        gateway.authentication.identify(access.worker_id, token)  # its token may have been revoked since
        return Response(status=HTTPStatus.NO_CONTENT)
    return _json(task_body(poll, now_seconds=services().store.clock.now_ms() / 1000))


@routes.post("/workers/<worker_id>/tasks/adopt")
def adopt_tasks(worker_id: str) -> Response:
    body = _read(AdoptionSchema())
    _checked_worker_id(body["worker_id"])
    gateway = _gateway()
    adopted = adopt(body["tasks"], _access(), consumer=body["consumer"], leases=gateway.leases, keyring=gateway.keyring)
    return _json({"adopted": list[Json](adopted)})


@routes.post("/tasks/result")
def take_result() -> Response:
    raw = request.get_data()
    try:
        body = _read(ResultSchema())
    except ForbiddenError as error:
        _gateway().note_refused(_access().worker_id, unvalidated_result(raw), reason=str(error))
        raise
    return _json(_gateway().settle(_checked_worker_id(body["worker_id"]), body, raw=raw))


@routes.post("/events")
def take_event() -> Response:
    body = _read(EventSchema())
    _checked_worker_id(body["worker_id"])
    worker_id, task_id, payload = body["worker_id"], body.get("target_task_id", ""), body["payload"]
    try:
        match body["event_type"]:
            case "progress":
                return _json(_gateway().record_progress(worker_id, task_id, ProgressSchema().load(payload)))
            case "stream":
                chunks = StreamSchema().load(payload)
                return _json(_gateway().append_stream(worker_id, task_id, chunks, body.get("attempt")))
    except ValidationError as error:
        return _json({"status": "error", "message": f"invalid fields: {error.messages}"})
    return _json({"status": "event_ignored"})  # other events have no effect


@routes.post("/auth/token")
def issue_token() -> Response:
    """Issue temporary tokens. Each request checks them, as it does a worker's own token, and they are revoked with
    it."""
    worker_id, token = _headers()
    authentication = _gateway().authentication
    return _json(authentication.issue_tokens(authentication.workers.identify(worker_id, token)))


@routes.post("/auth/token/refresh")
def refresh_token() -> Response:
    worker_id, _ = _headers()
    body = _load(RefreshSchema(), read_json(request))
    return _json(_gateway().authentication.refresh_tokens(worker_id, body["refresh_token"]))


#: After a 401 from these the SDK would request a token again, so they answer 403.
_TOKEN_ENDPOINTS = frozenset(f"{GATEWAY_ROUTES}.{view.__name__}" for view in (issue_token, refresh_token))

# ---------------------------------------------------------------- errors


@routes.errorhandler(AvtomatikaError)
def handle_error(error: AvtomatikaError) -> Response:
    is_for_tokens = request.endpoint in _TOKEN_ENDPOINTS
    if isinstance(error, UnauthorizedError):
        worker_id, _ = _headers()
        if _gateway().authentication.log_refused(worker_id, str(error)):
            with suppress(AvtomatikaError):
                _gateway().registry.refuse([worker_id])
        error = services().throttle.counted(error, has_token=is_for_tokens)
    status = status_of(error)
    if status is None:
        raise error
    if isinstance(error, UnauthorizedError) and is_for_tokens:
        status = HTTPStatus.FORBIDDEN
    if isinstance(error, InvalidRequestError):
        status = HTTPStatus.BAD_REQUEST
    # the SDK registers again if the error contains "not found"
    text = f"{error.kind} {error.name!r} not found" if isinstance(error, NotFoundError) else detail_of(error)
    response = _json({"error": text, "code": error.code}, status)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers.update(headers_of(error))
    return response


@routes.errorhandler(HTTPException)
def handle_http_error(error: HTTPException) -> Response:
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
    """Return the worker id and the token. A token in the URL would end up in logs, so it is not accepted."""
    return request.headers.get("X-Worker-ID", ""), request.headers.get("X-Worker-Token", "")


def _sdk_version() -> str:
    """Return the version that a worker of the public SDK reports."""
    version = request.headers.get("X-RXON-Version", "")[:32]
    return f"rxon {version}" if version else ""


def _checked_worker_id(worker_id: str) -> str:
    """Return the worker id of a body, which must be that of the token."""
    if worker_id != _access().worker_id:
        raise UnauthorizedError("X-Worker-ID and the body name different workers")
    return worker_id


def _read(schema: Schema) -> dict[str, Any]:
    """Return the body. Verifies its signature if it has one, unless the request has a temporary token: only the
    worker's own token signs."""
    body = read_json(request)
    worker_id, token = _headers()
    if not _access().is_by_session:
        check_signature(body, worker_id=worker_id, token=token)
    return _load(schema, body)


def _load(schema: Schema, body: dict[str, Json]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(body)
    except ValidationError as error:
        raise InvalidRequestError(f"invalid fields: {error.messages}") from None
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
