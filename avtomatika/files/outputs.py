"""Outputs: the files that a result names, sent to S3, all of them or none."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from avtomatika.core.texts import words_in
from avtomatika.errors import PermanentError, TaskError
from avtomatika.schemas.wire import TaskMessage

from .inputs import FileStamp, Origin
from .location import Location
from .path_kinds import PathKind, path_of, points_into
from .safe_names import Names
from .safe_open import files_below, opened
from .transfer_progress import Cancellation, ProgressMeter

if TYPE_CHECKING:
    from .task_storage import TaskStorage

logger = logging.getLogger(__name__)

#: Clocks of file systems go in steps of this, so a file may look older than it is.
_CLOCK_STEP_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send: *parts* lead to it from the payload folder."""

    parts: tuple[str, ...]
    target: Location


class Outputs:
    """What one attempt of *task* sends below *prefix*; *task_folder* is the name of its folder."""

    def __init__(
        self, depot: TaskStorage, *, task: TaskMessage, prefix: str, task_folder: str, began: float, watch: Cancellation
    ) -> None:
        self._depot = depot
        self._watch = watch
        self._task = task
        self._root = depot.payload.path
        self._prefix = prefix
        self._task_folder = task_folder
        self._began = began
        self._names = Names()
        self._sent_bytes = 0

    def deliver(self, texts: Iterable[str], origins: Mapping[str, Origin]) -> dict[str, str]:
        """URIs of those *texts* that are files to send, which are there when this returns. Raises TaskError."""
        instead: dict[str, str] = {}
        parcels: list[Upload] = []
        marks: list[Location] = []
        for text in dict.fromkeys(texts):
            parts = self._parts(text)
            if parts is None:
                continue
            origin = origins.get("/".join([self._root, *parts]))
            target, inside = self._plan(parts, origin)
            instead[text] = str(target)
            parcels += inside
            if target.is_folder and not inside and (origin is None or target != origin.location):
                marks.append(target)
        self._send(parcels, marks)
        return instead

    def _parts(self, text: str) -> tuple[str, ...] | None:
        """How to come to the file or folder that *text* names, or None where it is none of ours to send."""
        path = path_of(text, root=self._root, task_folder=self._task_folder)
        if path.place is PathKind.NOWHERE:
            return None
        if not os.path.lexists(text):
            self._check_missing(text, path.place)
            return None
        if path.place is PathKind.FOREIGN:
            raise PermanentError(f"{text!r} is in the folder of another task")
        if path.place is PathKind.OWN:
            return path.parts
        if self._depot.bucket is None:
            return None
        if path.place is PathKind.OUTSIDE:
            why = "is outside of the payload folder"
        elif self._is_told_where:
            why = "is in the payload folder, which the task's params name: whose file it is cannot be known"
        elif self._is_new(path.parts):
            return path.parts
        else:
            why = "is no file that this task has made"
        logger.warning("task %s: %r %s: the result names it, but it is not sent", self._prefix, text, why)
        return None

    def _check_missing(self, text: str, place: PathKind) -> None:
        """Raise PermanentError if *text*, where nothing is, names a file that the skill should have written."""
        is_below = place is not PathKind.OUTSIDE and os.path.exists(self._root)
        if is_below and not any(character < " " for character in text) and text not in words_in(self._task.params):
            raise PermanentError(f"the result names the file {text!r}, which does not exist")

    @cached_property
    def _is_told_where(self) -> bool:
        """Whether a path into the payload folder may be an echo: then it could be another task's file."""
        return any(points_into(text, self._root) for text in words_in(self._task.params))

    def _is_new(self, parts: Sequence[str]) -> bool:
        """Whether it is a regular file that was written since the task began."""
        with opened(self._root, parts) as descriptor:
            status = os.fstat(descriptor)
            return stat.S_ISREG(status.st_mode) and status.st_mtime >= self._began - _CLOCK_STEP_SECONDS

    def _plan(self, parts: tuple[str, ...], origin: Origin | None) -> tuple[Location, list[Upload]]:
        """Where it goes and what must be sent for it: nothing where it lies there already, untouched."""
        with opened(self._root, parts) as descriptor:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            below = list(files_below(descriptor, "/".join([self._root, *parts]))) if is_folder else [""]
        if origin is not None and self._states(parts, below) == origin.files:
            return origin.location, []
        if self._depot.bucket is None:
            raise PermanentError(
                f"the result names {parts[-1]!r} in the task's folder, but S3_BUCKET is not set, so it cannot be sent"
            )
        target = Location(self._depot.bucket, self._prefix + self._names.name_for(parts[-1]) + "/" * is_folder)
        if not is_folder:
            return target, [Upload(parts, target)]
        names = Names()
        return target, [
            Upload((*parts, *path.split("/")), Location(target.bucket, target.key + names.name_for(path)))
            for path in below
        ]

    def _states(self, parts: tuple[str, ...], below: Iterable[str]) -> dict[str, FileStamp]:
        states = {}
        for path in below:
            with opened(self._root, (*parts, *filter(None, path.split("/")))) as descriptor:
                states[path] = FileStamp.of(os.fstat(descriptor))
        return states

    def _send(self, parcels: Sequence[Upload], marks: Sequence[Location]) -> None:
        if not parcels and not marks:
            return
        s3 = self._depot.s3()
        meter = self._watch.meter("sending", self._checked_size(parcels))
        try:
            self._depot.for_all(lambda parcel: self._send_one(parcel, meter), parcels)
            self._watch.check()
            self._depot.for_all(lambda mark: s3.mark(mark, client=self._task.client), marks)
        except BaseException:
            self._take_back([*(parcel.target for parcel in parcels), *marks])
            raise

    def _send_one(self, parcel: Upload, meter: ProgressMeter) -> None:
        self._watch.check()
        with opened(self._root, parcel.parts) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            self._depot.s3().upload(file, parcel.target, client=self._task.client, meter=meter)

    def _checked_size(self, parcels: Iterable[Upload]) -> int:
        """Bytes of all *parcels*; raises PermanentError where they are too many."""
        size = 0
        for parcel in parcels:
            with opened(self._root, parcel.parts) as descriptor:
                size += os.fstat(descriptor).st_size
        self._sent_bytes += size
        if self._sent_bytes > self._depot.max_task_bytes:
            raise PermanentError(
                f"the result's files have {self._sent_bytes} bytes, but may have {self._depot.max_task_bytes} "
                "(WORKER_MAX_TASK_BYTES)"
            )
        return size

    def _take_back(self, targets: Sequence[Location]) -> None:
        """Remove what was sent of a result that nobody will get. Where that fails, too, it stays."""
        try:
            self._depot.for_all(self._depot.s3().remove, targets)
        except TaskError as error:
            logger.warning("task %s: what was sent of its result stays: %s", self._prefix, error)
