"""Messages of kombu and Celery programs, and the replies to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.schemas import wire

CELERY = {"task": "shop.encode", "id": "4f1c", "timelimit": [None, None]}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
REPLY = {"reply_to": "replies", "correlation_id": "c-1"}


def request_of(content: Any, headers: dict[str, Any] | None = None, **properties: Any) -> wire.TaskRequest:
    return wire.TaskRequest("w", "encode", "tag/1-0", headers or {}, properties, content)


def test_a_json_object_is_the_params() -> None:
    request = request_of({"path": "a"}, priority=12, **REPLY)

    assert request.arguments() == ([], {"path": "a"})
    assert request.reply() == {"queue": "replies", "correlation_id": "c-1", "celery_id": None}
    assert wire.load_task_request(wire.dump_task_request(request, None)) == request


def test_a_celery_message_has_arguments_and_options() -> None:
    headers = CELERY | {"eta": "2026-11-30T10:00:00+02:00", "expires": "1970-01-01T00:00:01"}
    request = request_of([[1], {"width": 2}, EMBED], headers, **REPLY)

    assert request.arguments() == ([1], {"width": 2})
    assert (request.time("eta"), request.time("expires"), request.time("other")) == (1_796_025_600_000, 1000, None)
    assert request.reply() == {"queue": "replies", "correlation_id": "c-1", "celery_id": "4f1c"}
    assert request_of([[], {}, EMBED], CELERY | {"ignore_result": True}, **REPLY).reply() is None


@pytest.mark.parametrize(
    ("content", "headers", "properties", "reason"),
    [
        ("text", {}, {}, "a JSON object with the params"),
        ({"args": []}, CELERY, {}, r"\[args, kwargs, embed\]"),
        ([[], {}, EMBED | {"chain": [{}]}], CELERY, {}, r"\['chain'\], but must be a task without callbacks"),
        ([[], {}, EMBED], CELERY | {"task": "shop.decode"}, {}, "'shop.decode', but must be 'encode'"),
        ([[], {}, EMBED], CELERY | {"eta": "tomorrow"}, {}, "a time in ISO 8601"),
        ({}, {}, {"reply_to": "steps.ride@0a1b2c3d"}, "the name of a queue of your own"),
        ({}, {}, {"reply_to": "avt.timers"}, "the name of a queue of your own"),
        ({}, {}, {"reply_to": ["q"]}, "the name of a queue of your own"),
    ],
)
def test_another_message_is_refused(
    content: Any, headers: dict[str, Any], properties: dict[str, Any], reason: str
) -> None:
    request = request_of(content, headers, **properties)

    with pytest.raises(wire.InvalidMessageError, match=reason):
        request.arguments(), request.time("eta"), request.reply()


def test_celery_learns_of_success_failure_and_cancellation() -> None:
    reply = {"queue": "replies", "correlation_id": "c-1", "celery_id": "4f1c"}
    error = {"code": "PERMANENT_ERROR", "message": "it is on fire", "traceback": "in line 3"}

    done = json.loads(wire.dump_reply(reply, status="finished", result={"result": 5}))
    failed = json.loads(wire.dump_reply(reply, status="failed", error=error))
    cancelled = json.loads(wire.dump_reply(reply, status="cancelled", job_id="g0-1"))

    assert done == {"task_id": "4f1c", "status": "SUCCESS", "result": 5, "traceback": None, "children": []}
    assert (failed["status"], failed["traceback"]) == ("FAILURE", "in line 3")
    assert failed["result"] == {"exc_type": "PERMANENT_ERROR", "exc_module": None, "exc_message": ["it is on fire"]}
    assert (cancelled["status"], cancelled["result"]["exc_type"]) == ("REVOKED", "TaskRevokedError")
