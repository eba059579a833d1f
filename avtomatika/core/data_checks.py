"""Checks of jobs' data against the ``input`` and ``output`` types of their blueprint."""

from collections.abc import Mapping

from avtomatika.errors import InvalidInputError, InvalidRequestError, InvalidValueError

from .file_reference import references_in
from .job_request import Json
from .plan import Plan
from .value_types import object_type, value_type

_NAME = "initial_data"


def check_input(plan: Plan, initial_data: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return *initial_data* with the defaults of the blueprint's input type. Raises InvalidRequestError by field."""
    if plan.input is None:
        return initial_data
    try:
        checked: Mapping[str, Json] = object_type(plan.input).normalize(dict(initial_data), _NAME)
        return checked
    except InvalidInputError as error:
        raise InvalidRequestError(str(error), fields={_NAME: _by_field(error)}) from None


def check_output(plan: Plan, result: Json) -> Json:
    """Return *result* in the form of the blueprint's output type. Raises InvalidInputError.

    A result that is kept with values in S3, as a task returned it, is not checked.
    """
    if plan.output is None or any(references_in(result)):
        return result
    return value_type(plan.output).normalize(result, "result")


def _by_field(error: InvalidInputError) -> object:
    """Return messages by field, or the messages about all of the data."""
    if not isinstance(error, InvalidValueError):
        return [str(error)]
    fields: dict[str, list[str]] = {}
    for path, message in error.problems:
        fields.setdefault(path.removeprefix(_NAME).removeprefix("."), []).append(message)
    return fields.get("", fields)
