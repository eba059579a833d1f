"""Answers that the client has are 304, and large ones are compressed."""

from __future__ import annotations

import gzip

import pytest
from flask.testing import FlaskClient

from avtomatika.store import Store

from .conftest import created_id

GZIP = {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/{}", "/api/v1/workers", "/api/v1/blueprints"])
def test_what_has_not_changed_is_not_sent_again(operator: FlaskClient, path: str) -> None:
    path = path.format(created_id(operator))
    first = operator.get(path)

    again = operator.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == "private, no-cache"
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])


def test_what_has_changed_is_sent(operator: FlaskClient) -> None:
    path = f"/api/v1/jobs/{created_id(operator)}"
    etag = operator.get(path).headers["ETag"]

    operator.post(f"{path}/cancel")
    response = operator.get(path, headers={"If-None-Match": etag})

    assert (response.status_code, response.json["status"]) == (200, "cancelled")


def test_large_answers_are_compressed_for_those_who_accept_it(operator: FlaskClient) -> None:
    path = f"/api/v1/jobs/{created_id(operator, initial_data={'text': 'abc' * 1000})}"
    plain = operator.get(path)

    compressed = operator.get(path, headers=GZIP)

    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert compressed.headers["Vary"] == "Accept-Encoding"
    assert len(compressed.data) < len(plain.data) / 3
    assert gzip.decompress(compressed.data) == plain.data
    assert operator.get(path, headers={**GZIP, "If-None-Match": plain.headers["ETag"]}).status_code == 304


def test_small_answers_streams_and_pages_with_secrets_are_not_compressed(
    operator: FlaskClient, anybody: FlaskClient, store: Store
) -> None:
    job_id = created_id(operator)
    operator.post(f"/api/v1/jobs/{job_id}/cancel")

    for response in (
        operator.get("/api/v1/blueprints", headers=GZIP),
        operator.get(f"/api/v1/jobs/{job_id}/events", headers=GZIP),
        anybody.get("/login", headers=GZIP),
        anybody.get("/docs", headers=GZIP),
    ):
        assert response.status_code == 200
        assert "Content-Encoding" not in response.headers
