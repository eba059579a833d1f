"""Schemas of the responses of the HTTP API, made from the types of :mod:`.answers`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

from marshmallow import Schema, fields

from avtomatika.core.job import job_of
from avtomatika.core.plan import Plan
from avtomatika.core.rate_limit import RateLimit
from avtomatika.core.value_types import object_type

from . import answers, server_answers
from .api_fields import Timestamp

#: Where the value of a field is: the path of an attribute, or a function of the object.
Source = str | Callable[[Any], Any]

_PLAIN: dict[Any, type[fields.Field[Any]]] = {
    str: fields.String,
    int: fields.Integer,
    float: fields.Float,
    bool: fields.Boolean,
}


def creation_path(plan: Plan) -> str | None:
    """Return the path for creating jobs of *plan*, or None if it has no endpoint."""
    return None if plan.api_endpoint is None else f"/api/{plan.api_version}/{plan.api_endpoint}"


def _of(part: str, *names: str) -> dict[str, Source]:
    return {name: f"{part}.{name}" for name in names}


_JOB = {
    **_of(
        "job",
        "id",
        "status",
        "skill",
        "current_state",
        "error",
        "client",
        "retry_of",
        "fork_of",
        "priority",
        "unique_key",
        "labels",
    ),
    **{"blueprint_name": "job.blueprint", "plan": "job.plan_hash", "version": "job.version"},
    **{"created_at": "job.created_ms", "updated_at": "job.updated_ms", "scheduled_at": "job.scheduled_ms"},
}
_PLAN: dict[str, Source] = {"name": "blueprint", "plan": "plan_hash", "url": creation_path}
_PLAN["input_schema"] = lambda plan: None if plan.input is None else object_type(plan.input).schema
_MESSAGE = {**_of("letter", "id", "queue", "routing_key", "priority", "deliveries"), "at": "letter.at_ms"}
#: The sources of fields, by type, where they differ from the names of the fields.
_SOURCES: dict[type, Mapping[str, Source]] = {
    answers.JobSummary: _JOB,
    answers.Job: {
        **_JOB,
        **_of("job", "result", "children", "initial_data", "state_history"),
        **{"progress": "latest.progress", "progress_message": "latest.message", "decision": "live_state.decision"},
    },
    answers.HistoryEntry: _of("entry", "event_type", "state", "task_id", "attempt", "worker_id", "duration_ms", "data"),
    server_answers.BlueprintSummary: _PLAN,
    server_answers.BlueprintPlan: {**_PLAN, "states": lambda plan: plan.states.values()},
    server_answers.WorkerInfo: {
        **_of("record", "type", "version", "concurrency", "skills", "resources", "costs"),
        **_of("beat", "unfit", "running", "links", "switches"),
        **{"id": "worker_id", "standby": "is_standby", "registered_at": "since_ms", "last_heartbeat_at": "heard_ms"},
    },
    server_answers.QueuedMessage: _MESSAGE,
    server_answers.DeadLetter: {**_MESSAGE, **_of("letter", "reason", "error")},
    server_answers.ScheduleInfo: {
        **_of("record", "status", "source", "last_job_id", "skipped", "error"),
        **_of("record.schedule", "name", "timing", "timezone"),
        **{"definition": lambda view: view["record"].schedule.given(), "last_at": "record.last_ms"},
        "waiting": lambda view: len(view["record"].waiting),
    },
    server_answers.LimitInfo: {
        "kind": lambda limit: limit.name.partition(":")[0],
        "name": lambda limit: limit.name.partition(":")[2],
        "rate": lambda limit: limit.rate and str(RateLimit(limit.rate, limit.per_ms // 1000)),
        **{"jobs": lambda limit: [*map(job_of, limit.holders)], "paused_at": "paused_at_ms"},
    },
    server_answers.Finding: {"kind": lambda found: found.kind or found.subject, "finding": "text"},
    server_answers.Figures: {"workers": "workers_by_status", "versions": "all_versions"},
}


def dump(answer: type, value: object, **options: Any) -> Any:
    """Return *value* as an *answer*; *options* are those of a marshmallow schema, such as ``many``."""
    return _schema(answer, **options).dump(value)


@lru_cache(maxsize=256)
def _schema(answer: type, **options: Any) -> Schema:
    return schema_of(answer)(**options)


@lru_cache
def schema_of(answer: type) -> type[Schema]:
    """Return the schema that dumps objects as *answer*, a type of :mod:`.answers`; a time is dumped from milliseconds:
    ``created_at`` from ``created_ms``."""
    sources = _SOURCES.get(answer, {})
    made: dict[str, Any] = {}
    for name, hint in get_type_hints(answer, include_extras=True).items():
        field, source = _field(hint), sources.get(name)
        if callable(source):
            field.get_value = _getter(source)  # type: ignore[method-assign]
        elif source is not None:
            field.attribute = source
        elif isinstance(field, Timestamp):
            field.attribute = f"{name.removesuffix('_at')}_ms"
        made[name] = field
    return Schema.from_dict(made, name=f"{answer.__name__}Schema")


def list_of(key: str, answer: type) -> type[Schema]:
    """Return the schema of an object that has a list of *answer* under *key*."""
    return Schema.from_dict({key: _field(list[answer])}, name=f"{answer.__name__}ListSchema")  # type: ignore[valid-type]


def _getter(source: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda value, *_, **__: source(value)


def _field(hint: Any, **options: Any) -> fields.Field[Any]:
    """Return the field for an annotation."""
    form, (first, *more) = get_origin(hint), get_args(hint) or (hint,)
    if form is Annotated:
        metadata: dict[str, Any] = {}
        for note in more:
            metadata |= {"description": note} if isinstance(note, str) else note if isinstance(note, dict) else {}
        options |= {"metadata": metadata} if metadata else {}
        if datetime in more:
            return Timestamp(**options)
        kinds = [note for note in more if isinstance(note, type) and issubclass(note, Enum)]
        return fields.Enum(kinds[0], by_value=True, **options) if kinds else _field(first, **options)
    if type(None) in more:
        return _field(first, allow_none=True, **options)
    if form is Literal:
        return fields.Constant(first, **options)
    if form is list:
        return fields.List(_field(first), **options)
    if form is dict:
        content: dict[str, Any] = {} if more == [Any] else {"keys": fields.String(), "values": _field(*more)}
        return fields.Dict(**content, **options)
    if is_typeddict(hint):
        return fields.Nested(schema_of(hint), **options)
    if hint is Any:
        return fields.Raw(allow_none=True, **options)
    return _PLAIN[hint](**options)
