"""flask-smorest's Blueprint with our parser for bodies and queries."""

from itertools import islice
from typing import Any, NoReturn, is_typeddict

from flask import Request, request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from avtomatika.errors import InvalidRequestError
from avtomatika.schemas.responses import schema_of

from .json_body import read_json

#: Maximum number of wrong fields in an error.
MOST_FIELDS_REPORTED = 20
#: Query parameters that may be repeated.
_REPEATABLE = frozenset({"label"})
#: Treatment of unknown fields: None leaves it to the schema, for queries too.
_UNKNOWN: dict[str, str | None] = {"json": None, "query": None}


def refuse_repeated_parameters() -> None:
    """Raise InvalidRequestError for a query parameter that is given twice but accepts one value."""
    for name, values in request.args.lists():
        if len(values) > 1 and name not in _REPEATABLE:
            message = f"is given {len(values)} times, but can have one value only"
            raise InvalidRequestError(f"the query parameter {name!r} {message}", fields={name: [message]})


class Parser(FlaskParser):
    """Parses bodies and queries, and reports all errors in one InvalidRequestError."""

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
        fields = dict(islice(messages.items(), MOST_FIELDS_REPORTED))
        raise InvalidRequestError(f"{what} has invalid fields: {', '.join(map(str, fields))}", fields=fields)


class Routes(Blueprint):
    """A group of views; decorators declare their arguments and responses, also for ``/openapi.json``."""

    ARGUMENTS_PARSER = Parser()

    def arguments(self, schema: type[Schema], **options: Any) -> Any:
        """As in flask-smorest, with one instance of *schema* instead of one for each request."""
        return super().arguments(schema(), **options)

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Any:
        """As in flask-smorest; *schema* may be a type of an answer."""
        return super().response(status_code, schema_of(schema) if is_typeddict(schema) else schema, **options)
