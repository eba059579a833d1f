from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.errors import InvalidInputError, SkillError
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.skill import Skill

from ..support.scripted_orchestrator import context

TASK = TaskMessage("g0-1", "g0-1.1.0", 2, "encode", {"n": 1}, ("success",), "avt.steps", "video@0123abcd.a")


def test_a_skill_has_the_name_of_its_function() -> None:
    worker = Worker()

    @worker.skill()
    def encode(params: dict[str, Any]) -> None: ...

    assert list(worker.skills) == ["encode"]


def test_a_skill_can_be_registered_without_parentheses() -> None:
    worker = Worker()

    @worker.skill
    async def encode(params: dict[str, Any]) -> None: ...

    assert worker.skills["encode"].is_async


def test_a_skill_can_have_another_name() -> None:
    worker = Worker()

    @worker.skill("encode-fast")
    @worker.task(name="encode-slow")
    def encode(params: dict[str, Any]) -> None: ...

    assert list(worker.skills) == ["encode-slow", "encode-fast"]


def test_the_decorated_function_can_still_be_called() -> None:
    worker = Worker()

    @worker.skill()
    def double(params: dict[str, int]) -> int:
        return 2 * params["n"]

    assert double({"n": 2}) == 4


def test_arguments_are_injected_by_name() -> None:
    worker = Worker()

    @worker.skill()
    def encode(
        task_id: str, params: dict[str, Any], attempt: int, job_id: str, quality: int = 3, **rest: Any
    ) -> None: ...

    assert worker.skills["encode"].arguments(context(TASK)) == {
        "task_id": "g0-1.1.0",
        "params": {"n": 1},
        "attempt": 2,
        "job_id": "g0-1",
    }


def test_an_object_whose_call_is_async_is_an_async_skill() -> None:
    class Encoder:
        async def __call__(self, params: dict[str, Any]) -> None: ...

    worker = Worker()

    worker.skill("encode")(Encoder())

    assert worker.skills["encode"].is_async


def test_a_parameter_that_cannot_be_given_is_named() -> None:
    def encode(parms: dict[str, Any]) -> None: ...

    with pytest.raises(SkillError, match=r"skill 'encode' asks for 'parms'.*did you mean 'params'\?"):
        Worker().skill(encode)


def test_an_unknown_parameter_is_rejected_at_registration() -> None:
    async def encode(params: dict[str, Any], speed: Any) -> None: ...

    with pytest.raises(SkillError, match="asks for 'speed', but reads 'params' as a whole, too: use one of the two"):
        Worker().skill(encode)


def test_a_parameter_without_an_annotation_is_rejected_at_registration() -> None:
    def encode(speed) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(
        SkillError, match=r"but the worker passes only params, .*: annotate 'speed' to read it from the"
    ):
        Worker().skill(encode)


@pytest.mark.parametrize("annotation", [socket.socket, "Nowhere"])
def test_a_named_parameter_of_an_unsupported_type_is_rejected_at_registration(annotation: Any) -> None:
    def encode(to: Any) -> None: ...

    encode.__annotations__["to"] = annotation

    with pytest.raises(
        SkillError, match=r"skill 'encode': the parameter 'to': (the type socket is not|is .*'Nowhere')"
    ):
        Worker().skill(encode)


def test_annotated_parameters_are_fields_of_the_params() -> None:
    worker = Worker()

    @worker.skill()
    def encode(
        path: Path, progress: Any, until: datetime | None, width: int = 640, cache: socket.socket | None = None
    ) -> None: ...

    skill = worker.skills["encode"]
    given = {"path": "a.mp4", "until": "2030-01-31T12:00:00Z"}
    arguments = skill.arguments(context(replace(TASK, params=given)))

    assert arguments.pop("progress")
    assert arguments == {"path": Path("a.mp4"), "until": datetime(2030, 1, 31, 12, tzinfo=UTC)}
    assert skill.schema["required"] == ["path", "until"]
    assert list(skill.schema["properties"]) == ["path", "until", "width"]
    with pytest.raises(
        InvalidInputError, match=r"^params\.widht: .*'width'\?; params\.until: .*; params\.path: is 3, but"
    ):
        skill.arguments(context(replace(TASK, params={"path": 3, "widht": 3})))


def test_a_positional_only_parameter_is_rejected() -> None:
    def encode(params: dict[str, Any], /) -> None: ...

    with pytest.raises(SkillError, match="positional-only"):
        Worker().skill(encode)


@pytest.mark.parametrize("name", ["_encode", "en code", "a.b", "x" * 65, "@w"])
def test_a_name_that_is_invalid_in_a_routing_key_is_rejected(name: str) -> None:
    def encode(params: dict[str, Any]) -> None: ...

    with pytest.raises(SkillError, match="a name must have 1 to 64"):
        Worker().skill(name)(encode)


def test_a_skill_cannot_be_registered_twice() -> None:
    worker = Worker()
    worker.skill("encode")(lambda params: None)

    with pytest.raises(SkillError, match="skill 'encode' is already registered"):
        worker.skill("encode")(lambda params: None)


@pytest.mark.parametrize("time_limit", [0, -1, float("nan"), timedelta(0)])
def test_an_invalid_time_limit_is_rejected(time_limit: float | timedelta) -> None:
    with pytest.raises(SkillError, match=r"its time limit is .* but must be a number of seconds above 0"):
        Worker().skill("encode", time_limit=time_limit)(lambda: None)


def test_a_skill_may_be_limited_on_all_workers_together() -> None:
    worker = Worker()

    @worker.skill(concurrency=3, rate="100/m")
    def encode() -> None: ...

    assert worker.skills["encode"].limit == {"concurrency": 3, "rate": "100/m"}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"concurrency": 0}, "concurrency must be"), ({"rate": "100"}, "rate is '100', but must be a number per second")],
)
def test_an_invalid_limit_is_refused_with_the_name_of_the_skill(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SkillError, match=f"skill 'encode': {message}"):
        Skill.of(lambda: None, "encode", **options)
