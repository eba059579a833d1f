"""Stores the large values of a step in S3: those that a handler made, or that came with a result."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from avtomatika.core.file_reference import FileReference, reference_of, references_in
from avtomatika.core.job import Job, Json
from avtomatika.core.step import Step
from avtomatika.files.job_values import JobValues
from avtomatika.files.object_keys import job_prefix


def store_large_values(before: Job, step: Step, in_s3: JobValues, *, loaded: Iterable[FileReference]) -> Step:
    """Return *step* with references instead of values above the limit of *in_s3*. Raise TaskError.

    A value that the job has in S3 already, such as one *loaded* for this step, is not stored again.
    """
    stored = {
        reference.sha256: reference
        for reference in (*references_in([before.initial_data, before.state_history]), *loaded)
        if f"/{job_prefix(before.id)}" in reference.uri
    }
    found: dict[int, FileReference] = {}
    writer = in_s3.writer(before)
    kept = {id(value) for value, _ in before.large.values()}
    for name, value in _values_of(step):
        if (
            id(value) in found
            or id(value) in kept
            or not isinstance(value, dict | list | str)
            or reference_of(value) is not None
        ):
            continue
        content = orjson.dumps(value)
        if len(content) > in_s3.limit:
            digest = sha256(content).hexdigest()
            found[id(value)] = stored[digest] = stored.get(digest) or writer.store(name, content)
    replaced: Step = _replaced(step, found)
    return replaced


def _values_of(step: Step) -> Iterator[tuple[str, Json]]:
    """Yield the values that may be large: those that ``store.large_values`` stores apart, and those of children."""
    yield from step.job.state_history.items()
    yield from step.job.result.items() if isinstance(step.job.result, dict) else [("result", step.job.result)]
    for task in step.job.tasks.values():
        yield from task.params.items()
    for child in step.children:
        yield from child.job.initial_data.items()


def _replaced(value: Any, found: Mapping[int, FileReference]) -> Any:
    """Return a copy of *value* with references instead of the values *found*, by id; unchanged parts are not copied."""
    if (reference := found.get(id(value))) is not None:
        return reference.as_json()
    if isinstance(value, Mapping):
        items = {key: _replaced(item, found) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if isinstance(value, list | tuple):
        members = [_replaced(item, found) for item in value]
        is_same = all(new is old for new, old in zip(members, value, strict=True))
        return value if is_same else getattr(type(value), "_make", type(value))(members)
    if is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        new = {name: _replaced(item, found) for name, item in old.items()}
        return value if all(new[name] is old[name] for name in old) else replace(value, **new)
    return value
