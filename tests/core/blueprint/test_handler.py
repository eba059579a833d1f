"""Injection by name, and which handler decides."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import socket
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.blueprint.handler import Function, Handler, choose
from avtomatika.core.blueprint.job_context import ClientInfo, JobContext
from avtomatika.core.job import Job
from avtomatika.errors import HandlerError

JOB = Job(
    id="g0-1",
    blueprint="shop",
    plan_hash="00000000",
    current_state="pack",
    client="acme",
    initial_data={"size": 5, "path": "from the client", "error": "not this one"},
    state_history={"path": "from a worker", "boxes": [{"id": 1}]},
    error={"code": "GPU_LOST", "message": "gone"},
)


def bound(function: Function, context: JobContext | None = None) -> dict[str, object]:
    return Handler(function, "pack").bind(context or JobContext(JOB))


class TestInjection:
    def test_gives_everything_that_has_a_name_of_ours(self) -> None:
        def pack(
            job_id: Any,
            current_state: Any,
            initial_data: Any,
            state_history: Any,
            actions: Any,
            context: Any,
            client: Any,
            error: Any,
            tracing_context: Any,
            data_stores: Any,
            aggregation_results: Any,
            task_files: Any,
        ) -> None: ...

        context = JobContext(
            JOB.evolve(traceparent="00-1"),
            actions=Actions(),
            client=ClientInfo("acme", plan="gold"),
            data_stores={"seen": 1},
            task_files="files",
        )

        assert bound(pack, context) == {
            "job_id": "g0-1",
            "current_state": "pack",
            "initial_data": JOB.initial_data,
            "state_history": JOB.state_history,
            "actions": context.actions,
            "context": context,
            "client": ClientInfo("acme", plan="gold"),
            "error": {"code": "GPU_LOST", "message": "gone"},
            "tracing_context": {"traceparent": "00-1"},
            "data_stores": {"seen": 1},
            "aggregation_results": {},
            "task_files": "files",
        }

    def test_prefers_what_a_worker_left_to_what_the_client_sent(self) -> None:
        assert bound(lambda path, size: None) == {"path": "from a worker", "size": 5}

    def test_leaves_defaults_where_there_is_nothing(self) -> None:
        assert bound(lambda size=1, colour="red": None) == {"size": 5}

    def test_gives_the_rest_of_the_data_to_double_starred_parameters(self) -> None:
        def pack(path: Any, *others: Any, **rest: Any) -> None: ...

        assert bound(pack) == {"path": "from a worker", "size": 5, "boxes": [{"id": 1}]}

    def test_names_what_there_is_where_a_name_is_unknown(self) -> None:
        names = "job_id, current_state, .*, task_files, scheduled_at, path, boxes, size"
        with pytest.raises(HandlerError, match=f"state 'pack': the parameter 'colour' of its handler .*: {names}$"):
            bound(lambda colour: None)

    def test_sees_through_decorators(self) -> None:
        @functools.wraps(lambda size: None)
        def decorated(*args: Any, **kwargs: Any) -> None: ...

        assert bound(decorated) == {"size": 5}

    def test_names_the_client_of_the_job(self) -> None:
        assert bound(lambda client: None) == {"client": ClientInfo("acme")}


class TestPatch:
    def test_is_empty_where_nothing_was_changed(self) -> None:
        context = JobContext(JOB)
        untouched = context.patch()

        context.state_history["path"] = "from a worker"

        assert (untouched, context.patch()) == ({}, {})

    def test_holds_what_was_added_and_what_was_changed(self) -> None:
        context = JobContext(JOB)

        context.state_history.update(path="elsewhere", new=(1, 2))

        assert context.patch() == {"path": "elsewhere", "new": [1, 2]}

    def test_sets_what_was_removed_to_none(self) -> None:
        context = JobContext(JOB)

        del context.state_history["path"]

        assert context.patch() == {"path": None}

    def test_holds_what_was_changed_inside_of_an_injected_value(self) -> None:
        context = JobContext(JOB)
        boxes: Any = bound(lambda boxes: None, context)["boxes"]

        boxes[0]["id"] = 2

        assert context.patch() == {"boxes": [{"id": 2}]}
        assert JOB.state_history["boxes"] == [{"id": 1}]

    def test_knows_nothing_of_changes_of_the_initial_data(self) -> None:
        context = JobContext(JOB)

        context.initial_data["size"] = 7

        assert context.patch() == {}
        assert JOB.initial_data["size"] == 5

    def test_must_be_json(self) -> None:
        context = JobContext(JOB)

        context.state_history["tags"] = [3j]

        with pytest.raises(HandlerError, match=re.escape("state 'pack': state_history.tags[0] is of type complex")):
            context.patch()


class TestChoose:
    @pytest.fixture
    def bp(self) -> Blueprint:
        bp = Blueprint("shop")
        bp.handler("pack", F.initial_data.size > 9)(lambda: "large")
        bp.handler("pack", F.initial_data.size > 3)(lambda: "medium")
        return bp

    def test_takes_the_first_whose_condition_holds(self, bp: Blueprint) -> None:
        assert choose(bp.handlers["pack"], JobContext(JOB)).function() == "medium"

    def test_takes_the_bare_one_last(self, bp: Blueprint) -> None:
        bp.handler("pack")(lambda: "any")

        assert choose(bp.handlers["pack"], JobContext(Job("g0-2", "shop", "00000000"))).function() == "any"

    def test_names_the_conditions_where_none_holds(self, bp: Blueprint) -> None:
        message = "state 'pack': none of its conditions holds (size > 9; size > 3), and every handler has one"
        with pytest.raises(HandlerError, match=re.escape(message)):
            choose(bp.handlers["pack"], JobContext(Job("g0-2", "shop", "00000000")))


class TestIsAsync:
    async def coroutine(self) -> None: ...

    def test_is_known_of_functions_and_of_objects_that_can_be_called(self) -> None:
        class Callable:
            async def __call__(self) -> None: ...

        assert Handler(self.coroutine, "pack").is_async
        assert Handler(Callable(), "pack").is_async
        assert Handler(functools.partial(self.coroutine), "pack").is_async
        assert not Handler(lambda: None, "pack").is_async


@dataclass
class Order:
    size: int
    due: datetime


class TestTypes:
    """Annotations other than JSON types convert injected values."""

    def test_data_are_converted_to_their_annotations(self) -> None:
        def start(initial_data: Order, due: datetime, size: int, box: socket, actions: Actions) -> None: ...

        job = JOB.evolve(initial_data={"size": 3, "due": "2030-01-31T12:00:00Z"}, state_history={"box": "b"})
        due = datetime(2030, 1, 31, 12, tzinfo=UTC)

        arguments = Handler(start, "start").bind(JobContext(job))

        assert isinstance(arguments.pop("actions"), Actions)
        assert arguments == {"initial_data": Order(3, due), "due": due, "size": 3, "box": "b"}

    def test_a_value_that_does_not_fit_is_named(self) -> None:
        def start(initial_data: Order) -> None: ...

        job = JOB.evolve(initial_data={"size": 3, "due": "tomorrow"})

        with pytest.raises(HandlerError, match=r"^state 'start': initial_data\.due: is 'tomorrow', but must be a time"):
            Handler(start, "start").bind(JobContext(job))
