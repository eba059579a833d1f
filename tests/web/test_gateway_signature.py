from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.errors import ForbiddenError
from avtomatika.web.gateway.signature import check_signature, signature_of

#: A result as sent, and its signature with TOKEN by ``avtomatika-worker`` 1.0b20.
RESULT = json.loads(
    """{"job_id": "g0-1", "task_id": "g0-1.1.0", "worker_id": "one", "timestamp": 1795451644,
    "data": {"small": 5e-05, "whole": 2.0, "zero": -0.0, "big": 1e+16, "bigger": 1.2345678901234568e+17,
    "tiny": 1.5e-10, "text": "Gru\\u00dfe \\u2028 \\ud83c\\udf89", "none": null,
    "list": [1, null, {"b": null, "a": 0.1}]},
    "costs": {"execution_time_seconds": 5e-05}}"""
)
SIGNATURE = "5314b38b84e909cc9a1fc4b21be759e71cc41e8812021cf6dbbab9443450036a"
TOKEN = "token-of-one"


def signed(**change: Any) -> dict[str, Any]:
    return {**RESULT, "security": {"signature": SIGNATURE, "signer_id": "one"}, **change}


def test_numbers_texts_and_nulls_are_signed_as_the_sdk_writes_them() -> None:
    assert signature_of(RESULT, TOKEN) == SIGNATURE


def test_what_grows_on_the_way_is_not_covered() -> None:
    body = signed(bubbling_chain=["two"])

    check_signature(body, worker_id="one", token=TOKEN)

    assert signature_of(body, TOKEN) == SIGNATURE


def test_a_body_without_a_signature_is_let_through() -> None:
    assert "security" not in RESULT
    check_signature(RESULT, worker_id="one", token=TOKEN)  # raises nothing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": 1795451645}, "Invalid cryptographic signature"),
        ({"data": None}, "Invalid cryptographic signature"),
        ({"status": "success"}, "Invalid cryptographic signature"),
        ({"data": {"n": 1e300}}, "Invalid cryptographic signature"),
        ({"security": {"signature": SIGNATURE.upper()}}, "Invalid cryptographic signature"),
        ({"security": {"signature": "é"}}, "Invalid cryptographic signature"),
        ({"security": {"signature": SIGNATURE, "signer_id": "two"}}, "sender ID mismatch"),
        ({"security": {"signature": 7}}, "Missing required cryptographic signature"),
        ({"security": {}}, "Missing required cryptographic signature"),
        ({"security": "none"}, "Missing required cryptographic signature"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ForbiddenError, match=reason):
        check_signature(signed(**change), worker_id="one", token=TOKEN)


def test_a_signature_by_another_token_is_refused() -> None:
    with pytest.raises(ForbiddenError):
        check_signature(signed(), worker_id="one", token="token-of-two")
