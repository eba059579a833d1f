"""Requests just within the limits are accepted."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from .conftest import created_id


@pytest.mark.parametrize(
    "raw",
    [
        b'{"initial_data": ' + b'{"a":' * 62 + b"1" + b"}" * 63,
        b'{"initial_data": {"a": 9223372036854775807, "b": -9223372036854775808, "c": 1e308}}',
        b'{"initial_data": {"a": "\\ud83d\\ude00", "b": "\\u0000", "c": "\xf0\x9f\x98\x80"}}',
        b'{"initial_data": {"a": "' + b"x" * (1024 * 1024 - 27) + b'"}}',
    ],
)
def test_a_body_within_the_limits_is_taken(alice: FlaskClient, raw: bytes) -> None:
    response = alice.post("/api/v1/jobs/video", data=raw, content_type="application/json")

    assert response.status_code == 202, response.text


def test_what_was_taken_comes_back_as_it_was_sent(alice: FlaskClient) -> None:
    sent = {"n": 2**63 - 1, "float": 0.1, "text": "😀\u0000\u2028", "null": None, "": [True, {}, []]}

    job_id = created_id(alice, initial_data=sent)

    assert alice.get(f"/api/v1/jobs/{job_id}").json["initial_data"] == sent
