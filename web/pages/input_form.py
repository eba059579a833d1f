"""Forms for the input of a blueprint and the data of a decision, made from JSON Schemas."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import orjson

from avtomatika.core.job import Json, WaitRecord
from avtomatika.errors import InvalidRequestError

#: The field for the whole data, if its schema names none.
WHOLE = ""
_KINDS = {"string": "text", "integer": "number", "number": "number", "boolean": "checkbox"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field: ``text``, ``number``, ``checkbox``, ``choice`` (of *choices*) or ``json``. *value* is its default."""

    name: str
    kind: str
    is_required: bool = False
    value: str = ""
    choices: tuple[str, ...] = ()
    hint: str = ""

    @property
    def key(self) -> str:
        """Its name in the form, where other fields have names too."""
        return f"data.{self.name}"

    def read(self, form: Mapping[str, str]) -> Any:
        """Return the value of a sent form, None if it is empty. Raises InvalidRequestError."""
        if self.kind == "checkbox":
            return self.key in form
        text = form.get(self.key, "")
        if not text.strip():
            return None
        if self.kind in ("text", "choice"):
            return text
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            message = f"is not JSON: {error}"
            raise InvalidRequestError(f"{self.name} {message}", fields={self.name: [message]}) from None


def fields_of(
    schema: Mapping[str, Json], form: Mapping[str, str] | None = None, *, data_type: Any = None
) -> list[Field]:
    """Return the fields for data of *schema*, with the values of *form* if it was sent, else the defaults of the
    *data_type*."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        found = [Field(WHOLE, "json", value="{}", hint="a JSON object")]
    else:
        required = schema.get("required", ())
        defaults = _defaults(data_type)
        found = [_field(str(name), each, name in required, defaults.get(name)) for name, each in properties.items()]
    if form is None:
        return found
    return [
        Field(each.name, each.kind, each.is_required, form.get(each.key, ""), each.choices, each.hint) for each in found
    ]


def data_of(schema: Mapping[str, Json], form: Mapping[str, str]) -> Any:
    """Return the data in *form*. Raises InvalidRequestError for text that is not JSON."""
    values = {field.name: field.read(form) for field in fields_of(schema)}
    if set(values) == {WHOLE}:
        return values[WHOLE] if values[WHOLE] is not None else {}
    return {name: value for name, value in values.items() if value is not None}


def decision_data(asked: WaitRecord, form: Mapping[str, str]) -> Any:
    """Return the data of the decision in *form*, None without a form and for a rejection, which needs none."""
    schema = asked.details.get("form")
    return None if schema is None or form.get("decision") == "rejected" else data_of(schema, form)


def _defaults(input_type: Any) -> dict[str, str | int | float]:
    """Return the plain defaults of a dataclass, which its schema does not have."""
    known = fields(input_type) if is_dataclass(input_type) else ()
    return {each.name: each.default for each in known if isinstance(each.default, str | int | float)}


def _field(name: str, schema: Any, is_required: bool, default: Any) -> Field:
    known = schema if isinstance(schema, Mapping) else {}
    choices = known.get("enum")
    default = known.get("default", default)
    value = default if isinstance(default, str) else "" if default is None else orjson.dumps(default).decode()
    hint = str(known.get("description", ""))
    if isinstance(choices, list | tuple) and all(isinstance(each, str) for each in choices):
        return Field(name, "choice", is_required, value, tuple(choices), hint)
    kind = _KINDS.get(str(known.get("type")), "json")
    return Field(name, kind, is_required, value, hint=hint or ("JSON" if kind == "json" else ""))


def texts(messages: Any, name: str = "") -> Iterator[str]:
    """Yield the texts of nested messages, each with its field."""
    if isinstance(messages, Mapping):
        for field, each in messages.items():
            yield from texts(each, name if field in ("initial_data", WHOLE) else field)
    elif isinstance(messages, str):
        yield f"{name}: {messages}" if name else messages
    else:
        for each in messages:
            yield from texts(each, name)
