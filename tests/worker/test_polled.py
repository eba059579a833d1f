"""Tasks as web addresses give them."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.errors import UnavailableError
from avtomatika.worker.config import Address
from avtomatika.worker.links.http_task import http_task

HERE = Address("http://localhost:8080")
TASK: dict[str, Any] = {"job_id": "g0-1", "task_id": "g0-1.1.0", "type": "encode", "params": {"film": "s3://films/a"}}


def test_whose_job_a_task_is_of_comes_over_http_too() -> None:
    assert http_task(TASK | {"client": "alice"}, HERE).task.client == "alice"
    assert http_task(TASK, HERE).task.client is None


@pytest.mark.parametrize("wrong", [{"client": 1}, {"params": []}, {"task_id": ""}, {"attempt": "1"}])
def test_an_answer_that_is_no_task_is_as_good_as_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match="answers a task that is none"):
        http_task(TASK | wrong, HERE)
