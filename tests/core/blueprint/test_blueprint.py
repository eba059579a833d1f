"""The forms of ``@bp.handler``, and errors that it raises immediately."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.plan import EndKind
from avtomatika.errors import BlueprintError


@pytest.fixture
def bp() -> Blueprint:
    return Blueprint("shop")


class TestHandler:
    def test_without_parentheses_names_the_state_after_the_function(self, bp: Blueprint) -> None:
        @bp.handler
        def pack(actions: Any) -> None: ...

        assert bp.states == ("pack",)

    def test_with_options_alone_names_the_state_after_the_function(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None: ...

        [handler] = bp.handlers["begin"]
        assert handler.is_start

    def test_takes_a_name_of_its_own(self, bp: Blueprint) -> None:
        @bp.handler("pack", queue="heavy", may_go_to=["ship"])
        def whatever(actions: Any) -> None: ...

        [handler] = bp.handlers["pack"]
        assert (handler.queue, handler.may_go_to) == ("heavy", ("ship",))

    def test_gives_the_function_back_unchanged(self, bp: Blueprint) -> None:
        def pack(actions: Any) -> str:
            return "still a function"

        assert bp.handler(pack) is pack
        assert bp.handler("other")(pack) is pack

    def test_puts_the_bare_one_behind_the_guarded_ones(self, bp: Blueprint) -> None:
        @bp.handler("pack")
        def bare(actions: Any) -> None: ...

        @bp.handler("pack", F.initial_data["size"] > 9)
        def large(actions: Any) -> None: ...

        @bp.handler("pack", F.initial_data["size"] > 3)
        def medium(actions: Any) -> None: ...

        assert [handler.function for handler in bp.handlers["pack"]] == [large, medium, bare]

    @pytest.mark.parametrize(
        ("name", "is_end", "kind"),
        [
            ("done", True, EndKind.FINISHED),
            ("done", "failed", EndKind.FAILED),
            ("failed", True, EndKind.FAILED),
            ("failed", False, None),
        ],
    )
    def test_knows_how_a_state_ends(self, bp: Blueprint, name: str, is_end: Any, kind: EndKind | None) -> None:
        bp.handler(name, is_end=is_end)(lambda: None)

        assert bp.handlers[name][0].end is kind

    def test_knows_the_line_of_its_function(self, bp: Blueprint) -> None:
        @functools.lru_cache
        def cached() -> None: ...

        bp.handler(cached)
        bp.handler("made")(functools.partial(print, "hello"))

        assert bp.handlers["cached"][0].line == cached.__wrapped__.__code__.co_firstlineno
        assert bp.handlers["made"][0].line is None


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "_mine", "two words", "a.b", "a@b", "a*", "x" * 65, None, "naïve"])
    def test_a_blueprint_needs_a_name_for_routing_keys(self, name: Any) -> None:
        with pytest.raises(BlueprintError, match="its name may contain letters, digits, '_' and '-'"):
            Blueprint(name)

    @pytest.mark.parametrize("endpoint", ["/jobs", "jobs/", "jobs//video", "jobs/<id>", "", 7])
    def test_an_endpoint_is_a_plain_path(self, endpoint: Any) -> None:
        with pytest.raises(BlueprintError, match=r"api_endpoint .* must be a path like 'jobs/video'"):
            Blueprint("shop", api_endpoint=endpoint)

    def test_an_api_version_is_a_name(self) -> None:
        with pytest.raises(BlueprintError, match="api_version 'v1/x'"):
            Blueprint("shop", api_version="v1/x")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"name": "_enter"}, "the name of a state may contain letters"),
            ({"name": "a.b"}, "the name of a state may contain letters"),
            ({"queue": "heavy.duty"}, "the queue 'heavy.duty' may contain letters"),
            ({"condition": True}, "the condition must be built with F"),
            ({"condition": F.client["plan"]}, "not a comparison: write, for example, F.client['plan'] == True"),
            ({"may_go_to": "ship"}, "must be a list of states: write may_go_to=['ship']"),
            ({"is_end": "finished"}, "is_end must be True or \"failed\", not 'finished'"),
        ],
    )
    def test_what_cannot_be_names_the_state_and_the_line(self, bp: Blueprint, options: Any, message: str) -> None:
        def pack(actions: Any) -> None: ...

        with pytest.raises(BlueprintError, match=re.escape(message)) as caught:
            bp.handler(**options)(pack)

        assert caught.value.state == options.get("name", "pack")
        assert caught.value.line == pack.__code__.co_firstlineno

    @pytest.mark.parametrize("thing", [42, dict])
    def test_a_handler_must_be_a_function(self, bp: Blueprint, thing: Any) -> None:
        with pytest.raises(BlueprintError, match="must be a function"):
            bp.handler("pack")(thing)

    def test_a_handler_must_not_yield(self, bp: Blueprint) -> None:
        with pytest.raises(BlueprintError, match="must not be a generator"):

            @bp.handler
            def pack(actions: Any) -> Any:
                yield actions

    def test_a_name_must_be_text(self, bp: Blueprint) -> None:
        with pytest.raises(BlueprintError, match="the name of a state must be text, not 7"):
            bp.handler(7)  # type: ignore[call-overload]  # what a user without a type checker may write
