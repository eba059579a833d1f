from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError, SkillSet, TaskContext, Worker
from avtomatika.core.events import Result
from avtomatika.errors import SkillError
from avtomatika.testing import run

Next = Callable[[TaskContext], Any]

bp = Blueprint(name="double")


@bp.handler(is_start=True)
def start(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task(
        "twice", initial_data, transitions={"success": "end", "failure": "failed", "halved": "end"}, max_retries=0
    )


@bp.handler(is_end=True)
def end(number: int) -> int:
    return number


@bp.handler(is_end="failed")
def failed() -> None: ...


def twice(params: dict[str, int]) -> dict[str, int]:
    return {"number": 2 * params["number"]}


async def twice_async(params: dict[str, int]) -> dict[str, int]:
    return {"number": 2 * params["number"]}


def answer(worker: Worker) -> Any:
    """Return the result of a job with the number 21."""
    return run(bp, {"number": 21}, skills=worker).result


# ---------------------------------------------------------------- sets


def test_a_worker_includes_a_skill_set_with_its_prefix() -> None:
    images = SkillSet(prefix="image-")

    @images.skill(time_limit=timedelta(seconds=5))
    def resize(params: dict[str, Any]) -> None: ...

    worker = Worker()
    worker.include(images)

    assert list(worker.skills) == ["image-resize"]
    assert worker.skills["image-resize"].time_limit_seconds == 5


def test_sets_are_found_at_the_top_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_with_sets.py").write_text(
        "from avtomatika import SkillSet\n"
        "one, two = SkillSet(), SkillSet(prefix='two-')\n"
        "same = one\n"
        "@one.skill\ndef work(params): ...\n"
        "@two.skill\ndef work(params): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    by_name, by_module = Worker(), Worker()

    by_name.include("module_with_sets")
    by_module.include(sys.modules["module_with_sets"])

    assert list(by_name.skills) == list(by_module.skills) == ["work", "two-work"]


def test_a_module_without_a_skill_set_is_rejected() -> None:
    with pytest.raises(SkillError, match="module 'json' has no SkillSet at its top level"):
        Worker().include("json")


def test_a_name_in_two_skill_sets_is_rejected() -> None:
    one, two = SkillSet(), SkillSet()
    one.skill("work")(lambda params: None)
    two.skill("work")(lambda params: None)

    with pytest.raises(SkillError, match="skill 'work' is already registered"):
        Worker().include(one, two)


# ---------------------------------------------------------------- middleware


def test_the_first_middleware_is_outermost() -> None:
    seen: list[Any] = []
    worker = Worker()
    worker.skill("twice")(twice)

    @worker.middleware
    def outer(context: TaskContext, call: Next) -> Result:
        seen.append(("outer", context.skill, context.params["number"]))
        result: Result = call(context)
        seen.append(("outer", result.status, result.data))
        return result

    @worker.middleware
    def inner(context: TaskContext, call: Next) -> Any:
        seen.append(("inner", context.attempt))
        return call(context)

    assert answer(worker) == 42
    assert seen == [("outer", "twice", 21), ("inner", 1), ("outer", "success", {"number": 42})]


def test_middleware_can_change_params_and_result() -> None:
    worker = Worker()
    worker.skill("twice")(twice)

    @worker.middleware
    def one_more(context: TaskContext, call: Next) -> Result:
        more = replace(context.task, params={"number": context.params["number"] + 1})
        result: Result = call(replace(context, task=more))
        return replace(result, status="halved", data={"number": result.data["number"] // 2})

    assert answer(worker) == 22


def test_middleware_can_replace_the_skill() -> None:
    worker = Worker()
    worker.skill("twice")(lambda params: pytest.fail("it was called"))

    @worker.middleware
    def remembered(context: TaskContext, call: Next) -> dict[str, int]:
        return {"number": 7}

    assert answer(worker) == 7


@pytest.mark.parametrize("raises", ["the skill", "the middleware"])
def test_exceptions_pass_through_middleware(raises: str) -> None:
    seen: list[str] = []
    worker = Worker()

    @worker.skill("twice")
    def broken(params: dict[str, Any]) -> None:
        raise PermanentError("the skill")

    @worker.middleware
    def watching(context: TaskContext, call: Next) -> Any:
        if raises == "the middleware":
            raise PermanentError(raises)
        try:
            return call(context)
        except PermanentError as error:
            seen.append(str(error))
            raise

    ended = run(bp, {"number": 21}, skills=worker)

    assert (ended.status, ended.error) == ("failed", {"code": "PERMANENT_ERROR", "message": raises})
    assert seen == (["the skill"] if raises == "the skill" else [])


def test_coroutine_functions_wrap_async_skills_and_others_wrap_sync_ones() -> None:
    seen: list[str] = []
    worker = Worker()
    worker.skill("twice")(twice_async)

    @worker.middleware
    async def for_async(context: TaskContext, call: Callable[[TaskContext], Awaitable[Result]]) -> Result:
        result = await call(context)
        seen.append(f"async {result.data}")
        return result

    @worker.middleware
    def for_sync(context: TaskContext, call: Next) -> Any:
        seen.append("sync")
        return call(context)

    assert answer(worker) == 42
    assert seen == ["async {'number': 42}"]


def test_middleware_of_a_set_wraps_its_skills_inside_that_of_the_worker() -> None:
    seen: list[str] = []
    numbers, worker = SkillSet(), Worker()
    numbers.skill("twice")(twice)
    worker.skill("other")(twice)

    def saying(word: str) -> Callable[[TaskContext, Next], Any]:
        def middleware(context: TaskContext, call: Next) -> Any:
            seen.append(word)
            return call(context)

        return middleware

    numbers.middleware(saying("set"))
    worker.middleware(saying("worker"))
    worker.include(numbers)

    assert answer(worker) == 42
    assert seen == ["worker", "set"]
    assert len(worker.skills["other"].middleware) == 1


def test_invalid_middleware_is_rejected() -> None:
    def timed(context: TaskContext) -> None: ...

    with pytest.raises(SkillError, match="middleware 'timed' must accept the context and the next callable"):
        Worker().middleware(timed)  # type: ignore[type-var]
