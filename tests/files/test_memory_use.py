"""Handlers with ``task_files`` run in memory as they run before a real S3 server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Blueprint, testing
from avtomatika.loading import load_blueprints

DOCUMENT = Path(__file__).parents[2] / "docs" / "files.md"


@pytest.fixture
def scenes(tmp_path: Path) -> Blueprint:
    """The blueprint with ``task_files`` in the document about files."""
    python = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "scenes.py").write_text(next(block for block in python if "task_files" in block))
    [blueprint] = load_blueprints(str(tmp_path / "scenes.py"))
    return blueprint


def test_a_handler_reads_and_writes_values_in_memory(scenes: Blueprint) -> None:
    told: list[dict[str, Any]] = []

    def cut(params: dict[str, Any]) -> dict[str, Any]:
        told.append(params)
        return {"film": "s3://films/cut.mp4"}

    job = testing.run(
        scenes,
        {"order": "s3://films/order.json"},
        skills={"cut": cut},
        files={"s3://films/order.json": {"scenes": ["one", "two"]}},
    )

    assert job.status == "finished", job.error
    assert job.result["film"].startswith("https://films.example/cut.mp4?expires=86400")
    assert job.files[told[0]["scenes"]] == ["one", "two"]


def test_missing_and_foreign_objects_are_refused_in_memory() -> None:
    bp = Blueprint(name="reader")
    errors: list[str] = []

    @bp.handler(is_start=True, is_end=True)
    def read(task_files: Any) -> None:
        for uri in ("s3://films/nothing.json", "s3://testing/g0-01JDZ7Q3T5V8K2M4N6P8R0S2T1/a.json"):
            try:
                task_files.read_json(uri)
            except Exception as error:
                errors.append(str(error))

    testing.run(bp, files={"s3://testing/g0-01JDZ7Q3T5V8K2M4N6P8R0S2T1/a.json": 1})

    assert errors[0] == "s3://films/nothing.json: there is no such key"
    assert "that this job may read" in errors[1]
