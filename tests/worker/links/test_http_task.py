"""Tasks from web addresses."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.addresses import Address
from avtomatika.errors import UnavailableError
from avtomatika.worker.links.http_link import parse_task

HERE = Address("http://localhost:8080")
TASK: dict[str, Any] = {"job_id": "g0-1", "task_id": "g0-1.1.0", "type": "encode", "params": {"film": "s3://films/a"}}


def test_the_client_of_a_job_is_passed_over_http() -> None:
    assert parse_task(TASK | {"client": "alice"}, HERE).task.client == "alice"
    assert parse_task(TASK, HERE).task.client is None


@pytest.mark.parametrize("wrong", [{"client": 1}, {"params": []}, {"task_id": ""}, {"attempt": "1"}])
def test_an_invalid_task_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match="replied with an invalid task"):
        parse_task(TASK | wrong, HERE)
