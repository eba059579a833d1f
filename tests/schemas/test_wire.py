from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from avtomatika.core.events import DeadLetter, Enter, Result, RetryHandler, RetryTask, Start, TaskTimeout
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas import wire
from avtomatika.schemas.fields import MAX_ID_LENGTH

#: A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ids = st.text(min_size=1, max_size=MAX_ID_LENGTH)
counts = st.integers(0, 2**53)
attempts = st.integers(1, 2**53)
seconds = st.floats(min_value=0.001, max_value=1e9)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)
events = st.one_of(
    st.builds(Start, ids),
    st.builds(Enter, ids, ids, counts),
    st.builds(
        Result,
        job_id=ids,
        task_id=ids,
        attempt=attempts,
        status=ids,
        data=json_values,
        error=st.none() | json_objects,
        worker_id=st.none() | ids,
        duration_ms=st.none() | counts,
    ),
    st.builds(RetryTask, ids, ids, attempts),
    st.builds(TaskTimeout, ids, ids, attempts, st.sampled_from(["dispatch", "result"])),
    st.builds(RetryHandler, ids, ids, counts, counts),
    st.builds(DeadLetter, ids, st.text(), ids, st.none() | ids, st.none() | attempts, json_objects),
)
tasks = st.builds(
    wire.TaskMessage,
    job_id=ids,
    task_id=ids,
    attempt=attempts,
    task_type=ids,
    params=json_objects,
    outcomes=st.lists(ids, max_size=5).map(tuple),
    reply_exchange=ids,
    reply_prefix=st.text(),
    result_timeout_seconds=st.none() | seconds,
)
LOADS = (wire.load_event, wire.load_task, wire.load_notice, wire.load_due_timer)

RESULT = Result("g0-1", "g0-1.1.0", 2, "success", {"n": 1}, None, "worker-1", 12)
TASK = wire.TaskMessage(
    "g0-1", "g0-1.1.0", 2, "encode", {"n": 1}, ("success", "failure"), "avt.steps", "video@0123abcd.a"
)


# ---------------------------------------------------------------- there and back


@patient
@given(events)
def test_an_event_comes_back_as_it_went(event: Any) -> None:
    assert wire.load_event(wire.dump_event(event)) == event


@patient
@given(tasks)
def test_a_task_comes_back_as_it_went(task: wire.TaskMessage) -> None:
    assert wire.load_task(wire.dump_task(task)) == task


@patient
@given(
    st.builds(wire.TaskStarted, ids, ids, attempts, ids, ids)
    | st.builds(wire.Progress, ids, ids, attempts, ids, st.floats(0, 1), st.text())
)
def test_a_notice_comes_back_as_it_went(taken: wire.Notice) -> None:
    assert wire.load_notice(wire.dump_notice(taken)) == taken


@patient
@given(st.builds(wire.DueTimer, ids, st.text(), st.text()))
def test_a_due_message_comes_back_as_it_went(due: wire.DueTimer) -> None:
    assert wire.load_due_timer(wire.dump_due_timer(due)) == due


def test_bytes_are_read_like_text() -> None:
    assert wire.load_event(wire.dump_event(RESULT).encode()) == RESULT


def test_a_result_says_what_it_is_and_when_it_was_written() -> None:
    body = json.loads(wire.dump_result(RESULT, ticket="abc"))

    assert isinstance(body.pop("ts"), int)
    assert body.pop("ticket") == "abc"
    assert body == {
        "v": 1,
        "kind": "result",
        "id": "result:g0-1.1.0:2",
        "job_id": "g0-1",
        "task_id": "g0-1.1.0",
        "attempt": 2,
        "status": "success",
        "data": {"n": 1},
        "error": None,
        "worker_id": "worker-1",
        "duration_ms": 12,
    }


def test_a_task_names_the_address_of_its_result() -> None:
    body = json.loads(wire.dump_task(TASK))

    assert body["reply"] == {"exchange": "avt.steps", "prefix": "video@0123abcd.a"}
    assert body["outcomes"] == ["success", "failure"]
    assert body["result_timeout"] is None


def test_fields_of_a_newer_sender_are_left_alone() -> None:
    body = orjson.loads(wire.dump_task(TASK)) | {"colour": "red"}

    assert wire.load_task(orjson.dumps(body)) == TASK


def test_an_event_is_signed_by_who_writes_it() -> None:
    secret = GroupSecret("a long and random text")

    text = wire.dump_event(Start("g0-1"), secret)

    assert secret.is_signed(text.encode())
    assert wire.load_event(text) == Start("g0-1")


def test_an_authentication_error_names_job_and_reason() -> None:
    def check(kind: str, body: Mapping[str, Any], text: bytes) -> None:
        raise wire.MessageAuthenticationError(kind, job_id=body["job_id"], reason="it is not signed")

    with pytest.raises(wire.MessageAuthenticationError, match="start message of job g0-1: it is not signed") as caught:
        wire.load_event(wire.dump_event(Start("g0-1")), check)

    assert caught.value.job_id == "g0-1"


def test_a_ticket_is_not_shown() -> None:
    assert "sesame" not in repr(replace(TASK, ticket="sesame"))


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("load", LOADS)
@patient
@given(text=st.binary() | st.text() | json_values.map(json.dumps))
def test_garbage_raises_nothing_but_bad_message(load: Any, text: str | bytes) -> None:
    with pytest.raises(wire.InvalidMessageError):
        load(text)


@patient
@given(message=st.one_of(events.map(wire.dump_event), tasks.map(wire.dump_task)), data=st.data())
def test_a_message_with_one_wrong_field_raises_nothing_but_bad_message(message: str, data: st.DataObject) -> None:
    body = json.loads(message)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(json_values)
    load: Any = wire.load_task if body["kind"] == "task" else wire.load_event
    dump: Any = wire.dump_task if body["kind"] == "task" else wire.dump_event

    try:
        loaded = load(json.dumps(body))
    except wire.InvalidMessageError:
        return
    assert load(dump(loaded)) == loaded


@patient
@given(message=events.map(wire.dump_event), cut=st.integers(0, 2000))
def test_a_message_cut_short_is_refused(message: str, cut: int) -> None:
    with pytest.raises(wire.InvalidMessageError):
        wire.load_event(message[: cut % len(message)])


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_another_version_is_refused(version: object) -> None:
    body = orjson.loads(wire.dump_event(RESULT)) | {"v": version}

    with pytest.raises(wire.InvalidMessageError, match=r"'v' is .*, but must be 1") as caught:
        wire.load_event(orjson.dumps(body))

    assert caught.value.field == "v"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_id", ""),
        ("job_id", "x" * (MAX_ID_LENGTH + 1)),
        ("task_id", 7),
        ("attempt", 0),
        ("attempt", True),
        ("attempt", 1.5),
        ("status", None),
        ("error", "boom"),
        ("worker_id", []),
        ("duration_ms", -1),
        ("id", "result:another:1"),
    ],
)
def test_the_wrong_field_is_named(field: str, value: object) -> None:
    body = orjson.loads(wire.dump_event(RESULT)) | {field: value}

    with pytest.raises(wire.InvalidMessageError) as caught:
        wire.load_event(orjson.dumps(body))

    assert caught.value.field == field
    assert caught.value.value == value


def test_a_missing_field_is_named() -> None:
    body = orjson.loads(wire.dump_task(TASK))
    del body["params"]

    with pytest.raises(wire.InvalidMessageError, match=r"task message: 'params' .* \(it is missing\)"):
        wire.load_task(orjson.dumps(body))


def test_a_long_value_is_shown_shortened() -> None:
    body = orjson.loads(wire.dump_event(RESULT)) | {"status": "x" * 100_000}

    with pytest.raises(wire.InvalidMessageError) as caught:
        wire.load_event(orjson.dumps(body))

    assert len(str(caught.value)) < 200


def test_a_task_is_not_an_event() -> None:
    with pytest.raises(wire.InvalidMessageError, match="'kind' is 'task'"):
        wire.load_event(wire.dump_task(TASK))


def test_what_is_too_large_is_refused_unread() -> None:
    with pytest.raises(wire.InvalidMessageError, match="bytes"):
        wire.load_event(b" " * (wire.MAX_BYTES + 1))


@pytest.mark.parametrize("depth", [250, 900, 100_000])
def test_what_is_nested_too_deep_is_refused(depth: int) -> None:
    head, _, tail = wire.dump_event(RESULT).partition('{"n":1}')

    with pytest.raises(wire.InvalidMessageError):
        wire.load_event(head + "[" * depth + "]" * depth + tail)


def test_data_as_deep_as_a_handler_may_give_passes() -> None:
    data: Any = 1
    for _ in range(200):
        data = [data]
    result = Result("g0-1", "g0-1.1.0", 1, "success", data)

    assert wire.load_event(wire.dump_event(result)) == result


def test_many_values_side_by_side_are_not_deep() -> None:
    result = Result("g0-1", "g0-1.1.0", 1, "success", [{"n": n} for n in range(10_000)])

    assert wire.load_event(wire.dump_event(result)) == result


def test_half_a_character_is_refused() -> None:
    text = wire.dump_event(RESULT).replace("success", "\ud800")

    with pytest.raises(wire.InvalidMessageError):
        wire.load_event(text)


def test_what_json_cannot_carry_is_not_sent() -> None:
    with pytest.raises(TypeError):
        wire.dump_event(Result("g0-1", "g0-1.1.0", 1, "success", {"tags": {"a"}}))
