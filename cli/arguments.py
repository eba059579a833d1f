"""Arguments of commands in the form KEY=VALUE: data of jobs and tasks, and labels."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from avtomatika.client import Client
from avtomatika.core.job_request import ON_CONFLICT
from avtomatika.errors import InvalidRequestError

from .terminal import progress

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])

_CREATION_OPTIONS = (
    click.option("--priority", type=click.IntRange(0, 9), help="Priority; higher runs first.  [default: 0]"),
    click.option("--fairness-key", metavar="KEY", help="Tasks of different keys take turns.  [default: the client]"),
    click.option("--unique-key", metavar="KEY", help="Only one job with this key runs at a time."),
    click.option(
        "--on-conflict", type=click.Choice(ON_CONFLICT), help="If one has not ended.  [default: return_existing]"
    ),
    click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label of the job. Repeatable."),
    click.option(
        "--delay", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Start it after this time."
    ),
    click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="Start at this time, with a time zone."),
    click.option("--idempotency-key", help="A second request with the same key returns the first job."),
)


blueprints_option = click.option(
    "--blueprints",
    envvar="BLUEPRINTS",
    default="blueprints/",
    help="Modules, files or folders with blueprints, comma-separated.",
)
worker_option = click.option(
    "--worker",
    envvar="AVTOMATIKA_WORKER",
    metavar="MODULE:WORKER",
    help="Worker, or file.py:worker.  [default: ./worker.py:worker, if it exists]",
)
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: stdout]"
)

timeout_option = click.option("--timeout", type=float, metavar="SECONDS", help="Wait for its end no longer than this.")


def creation_options(command: C) -> C:
    """Add the options of new jobs to *command*."""
    return reduce(lambda decorated, option: option(decorated), reversed(_CREATION_OPTIONS), command)


@dataclass(frozen=True, slots=True)
class FileToUpload:
    """A local file given as a value; the job gets its URI."""

    path: Path


def uploaded_data(api: Client, pairs: Sequence[str]) -> dict[str, Any]:
    """Return the data that *pairs* name, with the URIs of files in place of files, which are uploaded."""
    data = initial_data(pairs)
    for key, value in data.items():
        if isinstance(value, FileToUpload):
            with progress(value.path.name) as show:
                data[key] = api.upload(value.path, on_progress=show)
    return data


def distinct_labels(labels: Iterable[str]) -> dict[str, str]:
    """Return ``["name=value"]`` as a dict; InvalidRequestError for a duplicate name."""
    return _distinct(map(_pair, labels))


def initial_data(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``["a=text", "b:=[1]", "c=@d"]`` as ``{"a": "text", "b": [1], "c": FileToUpload(Path("d"))}``."""
    return _distinct(map(_typed_pair, pairs))


def _distinct(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return *pairs* as a dict; InvalidRequestError for a duplicate name."""
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequestError(f"{name!r} is given twice")
        found[name] = value
    return found


def _typed_pair(text: str) -> tuple[str, Any]:
    key, value = _pair(text)
    if not key.endswith(":"):
        return key, _file(value[1:]) if value.startswith("@") else value
    try:
        return key[:-1], json.loads(value)
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"{text!r}: invalid JSON after ':=': {error}") from None


def _file(name: str) -> FileToUpload:
    path = Path(name).expanduser()
    if not path.is_file():
        raise InvalidRequestError(f"'@{name}': no such file. For a string that starts with '@' write KEY:='\"@...\"'")
    return FileToUpload(path)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip(":"):
        raise InvalidRequestError(f"{text!r}: must be NAME=VALUE")
    return key, value
