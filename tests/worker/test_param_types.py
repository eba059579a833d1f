from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any, Literal

import marshmallow
import pytest

from avtomatika.errors import InvalidInputError, SkillError
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.skill import Skill

from ..support.scripted_orchestrator import context


class Quality(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Crop:
    x: int = 0
    y: int = 0


@dataclass
class Encode:
    path: Path
    width: int
    speed: float = 1.0
    quality: Quality = Quality.LOW
    codec: Literal["h264", "av1"] = "h264"
    crops: list[Crop] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    title: str | None = None

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("width must not be negative")


class EncodeSchema(marshmallow.Schema):
    path = marshmallow.fields.String(required=True)
    width = marshmallow.fields.Integer(strict=True)
    crop = marshmallow.fields.Nested({"x": marshmallow.fields.Integer()})


@dataclass
class At:
    when: socket


def encode(params: Encode) -> None: ...


def encode_by_schema(params: EncodeSchema) -> None: ...


def bound(function: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    task = TaskMessage("g0-1", "g0-1.1.0", 1, "encode", params, ("success",), "avt.steps", "video@0123abcd.a")
    return Skill.of(function).arguments(context(task))["params"]


# ---------------------------------------------------------------- plain


def test_a_dict_passes_as_it_is() -> None:
    def any_object(params: dict[str, Any]) -> None: ...

    params = {"anything": [1]}

    assert bound(any_object, params) is params
    assert Skill.of(any_object).schema == {"type": "object"}


@pytest.mark.parametrize("annotation", ["int", "list[str]", "Path", "str | None"])
def test_invalid_params_annotations_are_rejected_at_registration(annotation: str) -> None:
    def odd(params: Any) -> None: ...

    odd.__annotations__["params"] = annotation

    with pytest.raises(SkillError, match=r"skill 'odd': params is annotated with .* but must be a dict, a dataclass"):
        Skill.of(odd)


def test_an_unresolvable_annotation_is_rejected() -> None:
    def odd(params: Any) -> None: ...

    odd.__annotations__["params"] = "Nowhere"

    with pytest.raises(SkillError, match="'Nowhere', which cannot be resolved"):
        Skill.of(odd)


# ---------------------------------------------------------------- dataclasses


def test_a_dataclass_is_made_of_the_params() -> None:
    params = {
        "path": "/in/a.mp4",
        "width": 640,
        "speed": 2,
        "quality": "high",
        "codec": "av1",
        "crops": [{"x": 3}],
        "labels": {"a": "b"},
        "title": None,
    }

    assert bound(encode, params) == Encode(
        Path("/in/a.mp4"), 640, 2.0, Quality.HIGH, "av1", [Crop(3, 0)], {"a": "b"}, None
    )


def test_fields_with_defaults_may_be_missing() -> None:
    assert bound(encode, {"path": "a", "width": 1}) == Encode(Path("a"), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": "640"}, "params.width: is '640', but must be a whole number"),
        ({"width": True}, "params.width: is True, but must be a whole number"),
        ({"speed": "fast"}, "params.speed: is 'fast', but must be a number"),
        ({"quality": "middle"}, "params.quality: is 'middle', but must be one of 'low', 'high'"),
        ({"codec": 3}, "params.codec: is 3, but must be one of 'h264', 'av1'"),
        ({"crops": [{"x": 1}, {"x": "1"}]}, r"params.crops\[1\].x: is '1', but must be a whole number"),
        ({"crops": {}}, "params.crops: is {}, but must be a list"),
        ({"labels": {"a": 1}}, r"params.labels\['a'\]: is 1, but must be text"),
        ({"title": 3}, "params.title: is 3, but must be text or null"),
        ({"widht": 640}, r"params.widht: unknown field; did you mean 'width'\?"),
        ({"width": -1}, "params: width must not be negative"),
    ],
)
def test_a_field_that_does_not_fit_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{message}$"):
        bound(encode, {"path": "a", "width": 1} | wrong)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"^params\.width: is missing$"):
        bound(encode, {"path": "a"})


def test_a_dataclass_has_a_json_schema() -> None:
    schema = Skill.of(encode).schema

    assert schema["required"] == ["path", "width"]
    assert schema["properties"]["width"] == {"type": "integer"}
    assert schema["properties"]["quality"] == {"enum": ["low", "high"]}
    assert schema["properties"]["title"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schema["properties"]["crops"]["items"]["properties"] == {"x": {"type": "integer"}, "y": {"type": "integer"}}


def test_a_dataclass_with_an_unsupported_field_is_rejected() -> None:
    def at(params: At) -> None: ...

    with pytest.raises(SkillError, match=r"skill 'at': params At\.when: the type socket is not supported"):
        Skill.of(at)


# ---------------------------------------------------------------- other libraries


def test_a_marshmallow_schema_loads_the_params() -> None:
    assert bound(encode_by_schema, {"path": "a", "width": 1}) == {"path": "a", "width": 1}


def test_marshmallow_errors_name_the_field() -> None:
    with pytest.raises(InvalidInputError) as caught:
        bound(encode_by_schema, {"width": "1.5", "crop": {"x": "y"}})

    assert "params.path: Missing data for required field." in str(caught.value)
    assert "params.crop.x: Not a valid integer." in str(caught.value)


def test_a_marshmallow_schema_has_a_json_schema() -> None:
    assert Skill.of(encode_by_schema).schema == {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "width": {"type": "integer"},
            "crop": {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False},
        },
        "required": ["path"],
        "additionalProperties": False,
    }


def test_a_pydantic_model_is_made_of_the_params() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", path=(str, ...), width=(int, 3))

    def by_model(params: Any) -> None: ...

    by_model.__annotations__["params"] = model

    assert bound(by_model, {"path": "a"}).width == 3
    with pytest.raises(InvalidInputError, match=r"params\.width: Input should be a valid integer.*"):
        bound(by_model, {"path": "a", "width": "wide"})
