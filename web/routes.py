"""flask-smorest's Blueprint with our way to read bodies and queries."""

from __future__ import annotations

from itertools import islice
from typing import Any, NoReturn

from flask import Request, request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from avtomatika.errors import InvalidRequestError

from .json_body import read_json

#: Of a body that is wrong in more fields than this, only so many are told.
MOST_FIELDS_TOLD = 20
#: Parameters of queries that may be given more than once.
_REPEATABLE = frozenset({"label"})
#: What becomes of fields that a schema does not know: None leaves it to the schema, for queries too.
_UNKNOWN: dict[str, str | None] = {"json": None, "query": None}


def refuse_repeated_parameters() -> None:
    """Raise InvalidRequestError for a parameter of the query that is given twice but can have one value only."""
    for name, values in request.args.lists():
        if len(values) > 1 and name not in _REPEATABLE:
            message = f"is given {len(values)} times, but can have one value only"
            raise InvalidRequestError(f"the query parameter {name!r} {message}", fields={name: [message]})


class Parser(FlaskParser):
    """Takes bodies and queries apart; all that is wrong with one becomes a single InvalidRequestError."""

    DEFAULT_UNKNOWN_BY_LOCATION = _UNKNOWN

    def load_json(self, req: Request, schema: Schema) -> Any:
        return read_json(req)

    def handle_error(
        self,
        error: ValidationError,
        req: Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Any,
    ) -> NoReturn:
        [(location, messages)] = error.messages_dict.items()
        what = "the body" if location == "json" else "the query"
        fields = dict(islice(messages.items(), MOST_FIELDS_TOLD))
        raise InvalidRequestError(f"{what} has fields that do not fit: {', '.join(map(str, fields))}", fields=fields)


class Routes(Blueprint):
    """A group of views; what they take and give is in their decorators, and from there in ``/openapi.json``."""

    ARGUMENTS_PARSER = Parser()
