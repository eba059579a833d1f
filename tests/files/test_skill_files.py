"""Skills with files: params and results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.core.events import Result
from avtomatika.files.config import S3Config
from avtomatika.files.task_storage import TaskStorage
from avtomatika.worker.runtime import Runtime

from ..support.object_storage import ObjectStorage
from .conftest import left_in, task

DEADLINE_SECONDS = 20

worker = Worker()


@worker.skill()
def shout(params: dict[str, Any]) -> dict[str, Any]:
    target = Path(params["text"] + ".loud")
    target.write_text(Path(params["text"]).read_text().upper())
    return {"loud": str(target), "text": params["text"]}


@worker.skill()
async def shout_async(params: dict[str, Any], files: Any) -> dict[str, Any]:
    target = files.path("loud.txt")
    with open(params["text"]) as text, files.open("loud.txt", "w") as loud:  # noqa: ASYNC230 - a short one
        loud.write(text.read().upper())
    return {"loud": target, "text": params["text"]}


@worker.skill(batch=3, max_wait=DEADLINE_SECONDS)
def shout_all(params: list[dict[str, Any]], contexts: list[Any]) -> list[Any]:
    loud = [context.files.path("loud.txt") for context in contexts]
    for each, target in zip(params, loud, strict=True):
        target.write_text(Path(each["text"]).read_text().upper())
    return [{"loud": target, "together": len(params)} for target in loud]


@worker.skill(batch=3, max_wait=DEADLINE_SECONDS)
async def shout_all_async(params: list[dict[str, Any]], contexts: list[Any]) -> list[Any]:
    return shout_all(params, contexts)


@worker.skill()
def bare(files: Any) -> Path:
    with files.open("bare.txt", "w") as file:
        file.write("bare")
    return Path(files.path("bare.txt"))


@worker.skill()
def by_hand(params: dict[str, Any], files: Any) -> dict[str, Any]:
    uris = files.list(f"s3://{params['bucket']}/f")
    copy = files.path("copy.txt")
    copy.write_text("".join(files.download(uri).read_text() for uri in uris))
    return {"uris": uris, "copy": files.upload(copy)}


@worker.skill()
async def by_hand_async(params: dict[str, Any], files: Any) -> dict[str, Any]:
    uris = await files.list(f"s3://{params['bucket']}/f")
    copy = files.path("copy.txt")
    copy.write_text("".join([(await files.download(uri)).read_text() for uri in uris]))
    return {"uris": uris, "copy": await files.upload(copy)}


@worker.skill()
def out_of_bounds(params: dict[str, Any], files: Any) -> str:
    return str(files.path(params["name"]))


@worker.skill()
def fail(params: dict[str, Any]) -> None:
    raise RuntimeError(f"{Path(params['text']).name} is no good")


@pytest.fixture
def perform(storage: TaskStorage) -> Callable[..., Result]:
    """The result of a skill."""

    def perform(skill: str, **params: Any) -> Result:
        runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=2, storage=storage)
        runtime.submit([(task(params, task_type=skill), None)])
        deadline = monotonic() + DEADLINE_SECONDS
        collected = runtime.collect(DEADLINE_SECONDS)
        while not collected and monotonic() < deadline:
            collected = runtime.collect(0.1)
        runtime.close()
        [assignment] = collected
        assert assignment.result is not None
        return assignment.result

    return perform


@pytest.mark.parametrize("skill", ["shout", "shout_async"])
def test_a_skill_reads_and_writes_files_and_knows_nothing_of_s3(
    perform: Callable[..., Result], cloud: ObjectStorage, inputs: str, results: str, payload: Path, *, skill: str
) -> None:
    uri = cloud.put(inputs, "a.txt", "hello")

    result = perform(skill, text=uri)

    assert result.error is None
    assert cloud.read(result.data["loud"]) == b"HELLO"
    assert result.data["loud"].startswith(f"s3://{results}/g0-1/g0-1.0.0/1-")
    assert result.data["text"] == uri
    assert left_in(payload) == []


@pytest.mark.parametrize("skill", ["shout_all", "shout_all_async"])
def test_each_task_of_a_batch_has_its_own_files(
    storage: TaskStorage, cloud: ObjectStorage, inputs: str, results: str, payload: Path, *, skill: str
) -> None:
    uris = [cloud.put(inputs, f"{name}.txt", name) for name in ("a", "b")]
    runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=2, storage=storage)

    given = [*uris, f"s3://{inputs}/absent.txt"]
    runtime.submit([(task({"text": uri}, task_type=skill, number=number), None) for number, uri in enumerate(given)])
    ended: list[Any] = []
    deadline = monotonic() + DEADLINE_SECONDS
    while len(ended) < 3 and monotonic() < deadline:
        ended += runtime.collect(0.1)
    runtime.close()

    first, second, absent = (each.result for each in sorted(ended, key=lambda each: str(each.task.task_id)))
    assert [cloud.read(each.data["loud"]) for each in (first, second)] == [b"A", b"B"]
    assert [each.data["loud"].split("/")[4] for each in (first, second)] == ["g0-1.0.0", "g0-1.1.0"]
    assert (first.data["together"], absent.status) == (2, "failure")
    assert "absent.txt" in absent.error["message"]
    assert left_in(payload) == []


def test_a_bare_path_is_a_result(perform: Callable[..., Result], cloud: ObjectStorage) -> None:
    result = perform("bare")

    assert cloud.read(result.data["result"]) == b"bare"


@pytest.mark.parametrize("skill", ["by_hand", "by_hand_async"])
def test_a_skill_can_fetch_and_send_by_itself(
    perform: Callable[..., Result], cloud: ObjectStorage, inputs: str, payload: Path, *, skill: str
) -> None:
    uris = [cloud.put(inputs, f"f/{name}.txt", name) for name in ("a", "b")]

    result = perform(skill, bucket=inputs)

    assert result.error is None
    assert result.data["uris"] == uris
    assert cloud.read(result.data["copy"]) == b"ab"
    assert left_in(payload) == []


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "", "a\0b", "folder/"])
def test_a_name_that_leads_out_is_refused(perform: Callable[..., Result], name: str) -> None:
    result = perform("out_of_bounds", name=name)

    assert result.error is not None
    assert result.error["code"] == "INVALID_INPUT_ERROR"


def test_a_skill_that_fails_leaves_nothing(
    perform: Callable[..., Result], cloud: ObjectStorage, inputs: str, payload: Path
) -> None:
    result = perform("fail", text=cloud.put(inputs, "a.txt", "hello"))

    assert result.error is not None
    assert "a.txt is no good" in result.error["message"]
    assert left_in(payload) == []


@pytest.mark.parametrize("skill", ["shout", "shout_async"])
def test_an_input_that_is_not_there_ends_the_task_uncalled(
    perform: Callable[..., Result], inputs: str, payload: Path, skill: str
) -> None:
    result = perform(skill, text=f"s3://{inputs}/nothing.txt")

    assert result.error is not None
    assert result.error["code"] == "INVALID_INPUT_ERROR"
    assert f"s3://{inputs}/nothing.txt: there is no such key" in result.error["message"]
    assert left_in(payload) == []


def test_async_skills_go_on_while_others_wait_for_their_files(
    make_storage: Callable[..., TaskStorage],
    config: S3Config,
    cloud: ObjectStorage,
    inputs: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = make_storage(config)
    uri, may_fetch = cloud.put(inputs, "a.txt", "hello"), threading.Event()
    s3 = storage.s3
    monkeypatch.setattr(storage, "s3", lambda: (may_fetch.wait(DEADLINE_SECONDS), s3())[1])
    quick = Worker()

    @quick.skill()
    async def work(params: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        may_fetch.set()
        return "done"

    runtime = Runtime(quick.skills, worker_id="worker-1", concurrency=2, storage=storage)
    made = monotonic()
    runtime.submit([(task({"text": uri}, number=1), 1), (task({}, number=2), 2)])

    collected = []
    while len(collected) < 2 and monotonic() < made + DEADLINE_SECONDS:
        collected += runtime.collect(0.1)
    runtime.close()

    assert [assignment.origin for assignment in collected] == [2, 1]
    assert monotonic() - made < DEADLINE_SECONDS / 2


def test_without_s3_settings_uris_are_passed_on() -> None:
    echo = Worker()
    echo.skill("work")(lambda params: params)
    runtime = Runtime(echo.skills, worker_id="worker-1", concurrency=1)

    runtime.submit([(task({"film": "s3://films/a.mp4"}), None)])
    [assignment] = runtime.collect(DEADLINE_SECONDS)
    runtime.close()

    assert assignment.result is not None
    assert assignment.result.data == {"film": "s3://films/a.mp4"}
