"""Exported jobs: a job with its history and its child jobs as one JSON file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from avtomatika.errors import InvalidRequestError

#: Version of the file format.
VERSION = 1
_KIND = "avtomatika job"


@dataclass(frozen=True, slots=True)
class Recording:
    """A job and its history, as the API returns them, and its child jobs."""

    job: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    children: "tuple[Recording, ...]" = ()

    @classmethod
    def of(cls, content: object) -> Self:
        """Read what :meth:`as_json` wrote. Raises InvalidRequestError for anything else."""
        if not isinstance(content, Mapping) or content.get("kind") != _KIND:
            raise InvalidRequestError("this is not a job that avtomatika jobs export wrote")
        if content.get("v") != VERSION:
            raise InvalidRequestError(f"the version of the file is {content.get('v')!r}, but must be {VERSION}")
        return cls._of(content)

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> Self:
        try:
            children = tuple(cls._of(child) for child in content["children"])
            recording = cls(dict(content["job"]), [dict(event) for event in content["events"]], children)
            _ = recording.job["id"], recording.job["blueprint_name"], recording.duration_ms
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidRequestError(f"the file is incomplete: {type(error).__name__} {error}") from None
        return recording

    def as_json(self) -> dict[str, Any]:
        """Return the content of a file."""
        return {"v": VERSION, "kind": _KIND, **self._as_json()}

    def _as_json(self) -> dict[str, Any]:
        children = [child._as_json() for child in self.children]
        return {"job": dict(self.job), "events": [dict(event) for event in self.events], "children": children}

    @property
    def duration_ms(self) -> float:
        """Milliseconds from the creation of the job to its last event."""
        return _ms(self.events[-1]) - self.created_ms

    @property
    def created_ms(self) -> float:
        """Time of creation, in milliseconds since the epoch."""
        return _ms(self.events[0])

    def all(self) -> "Iterator[Recording]":
        """Iterate over the job and all its descendants."""
        yield self
        for child in self.children:
            yield from child.all()


def _ms(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp() * 1000
