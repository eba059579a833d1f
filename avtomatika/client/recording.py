"""A job as a file: as it stands, with its history and the jobs that it started, as the API shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from avtomatika.errors import InvalidRequestError

#: The version of the files that are written and read.
VERSION = 1
_KIND = "avtomatika job"


@dataclass(frozen=True, slots=True)
class Recording:
    """A job with its history, as the API shows them, and the jobs that it started."""

    job: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    children: tuple[Recording, ...] = ()

    @classmethod
    def of(cls, content: object) -> Recording:
        """What :meth:`as_json` wrote. Raises InvalidRequestError for anything else."""
        if not isinstance(content, Mapping) or content.get("kind") != _KIND:
            raise InvalidRequestError("this is no job that was written by avtomatika jobs export")
        if content.get("v") != VERSION:
            raise InvalidRequestError(f"the version of the file is {content.get('v')!r}, but must be {VERSION}")
        return cls._of(content)

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> Recording:
        try:
            children = tuple(cls._of(child) for child in content["children"])
            recording = cls(dict(content["job"]), [dict(event) for event in content["events"]], children)
            _ = recording.job["id"], recording.job["blueprint_name"], recording.duration_ms
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidRequestError(f"the file is incomplete: {type(error).__name__} {error}") from None
        return recording

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {"v": VERSION, "kind": _KIND, **self._as_json()}

    def _as_json(self) -> dict[str, Any]:
        children = [child._as_json() for child in self.children]
        return {"job": dict(self.job), "events": [dict(event) for event in self.events], "children": children}

    @property
    def duration_ms(self) -> float:
        """From its creation to what was written last."""
        return _ms(self.events[-1]) - self.began_ms

    @property
    def began_ms(self) -> float:
        """When it was created, since the epoch."""
        return _ms(self.events[0])

    def all(self) -> Iterator[Recording]:
        """It and everything below it."""
        yield self
        for child in self.children:
            yield from child.all()


def _ms(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp() * 1000
