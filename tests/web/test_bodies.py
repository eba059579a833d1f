"""Bodies that must be refused: each with its status, its code, a message for people, and nothing created."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from avtomatika.store import JobFilter, Store

from .conftest import problem

PATH = "/api/v1/jobs/video"
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_created(store: Store) -> Iterator[None]:
    yield
    assert store.list_jobs(JobFilter()) == ([], None)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the body is empty, but must be a JSON object"),
        (b"{", "the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"not json", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{} {}", "the body is not JSON: Extra data: line 1 column 4 (char 3)"),
        (b"\xef\xbb\xbf{}", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"initial_data": {"a": "\xff"}}', "the body is not UTF-8: byte 24 is wrong"),
        (b'{"initial_data": {"a": "\n"}}', "the body is not JSON: Invalid control character"),
        (b"[]", "the body is a list, but must be a JSON object"),
        (b"null", "the body is null, but must be a JSON object"),
        (b"true", "the body is true or false, but must be a JSON object"),
        (b"5", "the body is a number, but must be a JSON object"),
        (b'"{}"', "the body is text, but must be a JSON object"),
        (b'{"initial_data": {"a": NaN}}', "the body contains NaN, which is not JSON"),
        (b'{"initial_data": {"a": [-Infinity]}}', "the body contains -Infinity, which is not JSON"),
        (b'{"initial_data": {"a": 1e999}}', "the body contains a number that is too large: 1e999"),
        (b'{"initial_data": {"a": 9223372036854775808}}', "the body contains an integer of more than 64 bits"),
        (b'{"initial_data": {"a": ' + b"9" * 100_000 + b"}}", "the body contains an integer of more than 64 bits"),
        (b'{"priority": 1, "priority": 2}', "the body contains the key 'priority' twice in one object"),
        (b'{"initial_data": {"a": "\\ud800"}}', "the body contains text with a lone surrogate"),
        (b'{"initial_data": {"\\udfff": 1}}', "the body contains text with a lone surrogate"),
        (b'{"initial_data": ' + b'{"a":' * 64 + b"1" + b"}" * 65, "the body is nested deeper than 64 levels"),
        (b"[" * 100_000, "the body is nested deeper than 64 levels"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(alice: FlaskClient, raw: bytes, message: str) -> None:
    response = alice.post(PATH, data=raw, content_type="application/json")

    body = problem(response, 422, "invalid_request")
    assert body["detail"].startswith(message)
    assert body["errors"] == {"body": [body["detail"]]}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("initial_data", [], "must be a JSON object"),
        ("initial_data", "x", "must be a JSON object"),
        ("initial_data", None, "Field may not be null."),
        ("priority", 10, "must be 0 to 9; higher is sooner"),
        ("priority", -1, "must be 0 to 9; higher is sooner"),
        ("priority", "5", "must be a whole number, 0 to 9"),
        ("priority", 5.5, "must be a whole number, 0 to 9"),
        ("priority", True, "must be a whole number, 0 to 9"),
        ("dispatch_timeout", 0, "must be above 0 and at most 31536000"),
        ("dispatch_timeout", -1, "must be above 0 and at most 31536000"),
        ("result_timeout", "60", "must be a number of seconds"),
        ("result_timeout", True, "must be a number of seconds"),
        ("result_timeout", 1e12, "must be above 0 and at most 31536000"),
        ("labels", ["a"], "must be a JSON object"),
        ("labels", {str(n): "x" for n in range(33)}, "33 labels, but at most 32 are kept"),
        ("webhook_url", 5, "Not a valid string."),
        ("webhook_url", "ftp://example.org/", "must start with http:// or https://"),
        ("webhook_url", "file:///etc/passwd", "is not a URL"),
        ("webhook_url", "javascript:alert(1)", "is not a URL"),
        ("webhook_url", "//example.org", "must start with http:// or https://"),
        ("webhook_url", "https://", "is not a URL"),
        ("webhook_url", "https://example.org:99999/", "is not a URL"),
        ("webhook_url", "https://[::1/", "is not a URL"),
        ("webhook_url", "https://example.org/\r\nX-Evil: 1", "is not a URL"),
        ("webhook_url", "https://a b/", "is not a URL"),
        ("webhook_url", "https://me:pass@example.org/", "must not carry a user name or a password"),
        ("webhook_url", "https://example.org/" + "x" * 2048, "Longer than maximum length 2048."),
        ("inital_data", {}, "there is no such field"),
    ],
)
def test_a_field_that_does_not_fit_is_named(alice: FlaskClient, field: str, value: object, message: str) -> None:
    response = alice.post(PATH, json={field: value})

    body = problem(response, 422, "invalid_request")
    assert body["detail"] == f"the body has invalid fields: {field}"
    assert body["errors"] == {field: [message]}


@pytest.mark.parametrize(
    ("labels", "errors"),
    [
        ({"a b": "x"}, {"a b": {"key": ["must be 1 to 64 letters, digits, '_' or '-'"]}}),
        ({"a": ""}, {"a": {"value": ["must be 1 to 128 printable characters"]}}),
        ({"a": "x\ny"}, {"a": {"value": ["must be 1 to 128 printable characters"]}}),
        ({"a": "x" * 129}, {"a": {"value": ["must be 1 to 128 printable characters"]}}),
        ({"a": 1}, {"a": {"value": ["Not a valid string."]}}),
    ],
)
def test_a_label_that_does_not_fit_is_named(
    alice: FlaskClient, labels: dict[str, object], errors: dict[str, object]
) -> None:
    response = alice.post(PATH, json={"labels": labels})

    assert problem(response, 422, "invalid_request")["errors"] == {"labels": errors}


def test_of_very_many_wrong_fields_only_some_are_told(alice: FlaskClient) -> None:
    response = alice.post(PATH, json={f"x{n}": n for n in range(10_000)})

    assert len(problem(response, 422, "invalid_request")["errors"]) == 20


def test_a_body_that_is_too_large_is_refused_with_size_and_limit(alice: FlaskClient) -> None:
    response = alice.post(PATH, json={"initial_data": {"a": "x" * MIB}})

    size = MIB + len('{"initial_data":{"a":""}}')
    body = problem(response, 413, "too_large")
    assert body["detail"] == f"the body is {size} bytes long, but at most {MIB} bytes are accepted"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Type": "text/plain"}, "the body is 'text/plain': send it with Content-Type: application/json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "the body is 'application/x-www-form-urlencoded'"),
        ({"Content-Type": "application/x-python-pickle"}, "the body is 'application/x-python-pickle'"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "a body with Content-Encoding 'gzip'"),
    ],
)
def test_a_body_of_another_type_is_refused(alice: FlaskClient, headers: dict[str, str], message: str) -> None:
    response = alice.post(PATH, data=b"{}", headers=headers)

    assert problem(response, 415, "unsupported_media_type")["detail"].startswith(message)
