"""The skills in docs/files.md do what their comments say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.files.task_storage import TaskStorage
from avtomatika.worker.runtime import Runtime

from ..support.object_storage import ObjectStorage
from .conftest import task

DOCUMENT = Path(__file__).parents[2] / "docs" / "files.md"
DEADLINE_SECONDS = 20


@pytest.fixture
def perform(storage: TaskStorage) -> Callable[..., Any]:
    """The data that a skill of the document returns."""
    namespaces: list[dict[str, Any]] = []
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        namespaces.append({})
        exec(block, namespaces[-1])  # noqa: S102 - our own document
    workers = [each["worker"] for each in namespaces if "worker" in each]
    skills = {name: skill for worker in workers for name, skill in worker.skills.items()}

    def perform(name: str, **params: Any) -> Any:
        runtime = Runtime(skills, worker_id="worker-1", concurrency=1, storage=storage)
        runtime.submit([(task(params, task_type=name), None)])
        [assignment] = runtime.collect(DEADLINE_SECONDS)
        runtime.close()
        assert assignment.result is not None
        assert assignment.result.error is None
        return assignment.result.data

    return perform


def test_a_skill_sees_paths_and_the_job_sees_uris(
    perform: Callable[..., Any], cloud: ObjectStorage, inputs: str, results: str
) -> None:
    data = perform("encode", film=cloud.put(inputs, "lake.mov", b"film"))

    assert data["output"].startswith(f"s3://{results}/g0-1/g0-1.0.0/1-")
    assert Path(data["output"]).name == "lake.mp4"
    assert cloud.read(data["output"]) == b"film"


def test_files_lists_and_fetches(perform: Callable[..., Any], cloud: ObjectStorage) -> None:
    cloud.make_bucket("raw")
    cloud.put("raw", "lake/1.jpg", b"1")
    cloud.put("raw", "lake/2.jpg", b"2")

    data = perform("collage")

    assert cloud.read(data["listing"]) == b"1.jpg\n2.jpg\n"
