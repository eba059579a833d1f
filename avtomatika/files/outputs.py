"""Uploads the outputs of a task: the files that its result names, all of them or none."""

import logging
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from avtomatika.core.texts import texts_in
from avtomatika.errors import PermanentError, TaskError
from avtomatika.schemas.wire import TaskMessage

from .location import FileStamp, Location, Origin
from .payload import TASKS
from .safe_names import UniqueNames
from .safe_open import files_below, open_below
from .task_storage import TaskStorage
from .transfer_progress import Cancellation, ProgressMeter

logger = logging.getLogger(__name__)

#: Resolution of file system clocks: a file may look older than it is by this much.
_CLOCK_STEP_SECONDS = 0.01
#: Linux has no longer paths.
_MAX_PATH = 4096


class PathKind(Enum):
    NOT_A_PATH = auto()  # not an absolute path
    OUTSIDE = auto()  # not below the payload folder, or through ".."
    NO_TASK = auto()  # below the payload folder, but not in a task's folder
    OTHER_TASK = auto()  # in the folder of another task or attempt
    OWN_TASK = auto()  # the task's folder, or below it


def classified_path(text: str, *, root: str, task_folder: str) -> tuple[PathKind, tuple[str, ...]]:
    """Return the kind of *text*, and the parts of its path below the payload folder *root*, empty if it is not below
    it; *task_folder* is the name of the task's folder.

    >>> classified_path("/p/tasks/t1/out/a.mp4", root="/p", task_folder="t1")
    (<PathKind.OWN_TASK: 5>, ('tasks', 't1', 'out', 'a.mp4'))
    >>> classified_path("/p/../etc/passwd", root="/p", task_folder="t1")
    (<PathKind.OUTSIDE: 2>, ())
    """
    if not text.startswith("/") or "\0" in text or len(text) > _MAX_PATH:
        return PathKind.NOT_A_PATH, ()
    below = text.removeprefix(root)
    if below == text or not below.startswith("/") or ".." in below.split("/"):
        return PathKind.OUTSIDE, ()
    parts = tuple(part for part in below.split("/") if part not in ("", "."))
    if len(parts) < 2 or parts[0] != TASKS:
        return PathKind.NO_TASK, parts
    return PathKind.OWN_TASK if parts[1] == task_folder else PathKind.OTHER_TASK, parts


def points_into(text: str, root: str) -> bool:
    """Return whether *text* contains the path of the payload folder, or is a path that resolves into it.

    >>> points_into("see /p/out.mp4", "/p"), points_into("/x/../p/out.mp4", "/p"), points_into("/pp", "/p")
    (True, True, False)
    """
    if f"{root}/" in text or text == root:
        return True
    if not text.startswith("/") or "\0" in text or len(text) > _MAX_PATH:
        return False
    return f"{os.path.realpath(text)}/".startswith(f"{os.path.realpath(root)}/")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to upload; *parts* are its path below the payload folder."""

    parts: tuple[str, ...]
    target: Location


class Outputs:
    """The outputs of one attempt of *task*, uploaded below *prefix*; *task_folder* is the name of its folder."""

    def __init__(
        self,
        storage: TaskStorage,
        *,
        task: TaskMessage,
        prefix: str,
        task_folder: str,
        started: float,
        cancellation: Cancellation,
    ) -> None:
        self._storage = storage
        self._cancellation = cancellation
        self._task = task
        self._root = storage.payload.path
        self._prefix = prefix
        self._task_folder = task_folder
        self._started = started
        self._names = UniqueNames()
        self._uploaded_bytes = 0

    def upload(self, texts: Iterable[str], origins: Mapping[str, Origin]) -> dict[str, str]:
        """Upload the files that *texts* name, and return their URIs by text. Raise TaskError."""
        uris: dict[str, str] = {}
        uploads: list[Upload] = []
        markers: list[Location] = []
        for text in dict.fromkeys(texts):
            parts = self._parts(text)
            if parts is None:
                continue
            origin = origins.get("/".join([self._root, *parts]))
            target, inside = self._plan(parts, origin)
            uris[text] = str(target)
            uploads += inside
            if target.is_folder and not inside and (origin is None or target != origin.location):
                markers.append(target)
        self._upload_all(uploads, markers)
        return uris

    def _parts(self, text: str) -> tuple[str, ...] | None:
        """Return the path of the file or folder that *text* names, or None if it is not to be uploaded."""
        kind, parts = classified_path(text, root=self._root, task_folder=self._task_folder)
        if kind is PathKind.NOT_A_PATH:
            return None
        if not os.path.lexists(text):
            self._check_missing(text, kind)
            return None
        if kind is PathKind.OTHER_TASK:
            raise PermanentError(f"{text!r} is in the folder of another task")
        if kind is PathKind.OWN_TASK:
            return parts
        if self._storage.bucket is None:
            return None
        if kind is PathKind.OUTSIDE:
            why = "is outside of the payload folder"
        elif self._params_name_payload:
            why = "is in the payload folder, which the task's params name, so it may be a file of another task"
        elif self._is_new(parts):
            return parts
        else:
            why = "was not written by this task"
        logger.warning("task %s: %r %s: the result names it, but it is not uploaded", self._prefix, text, why)
        return None

    def _check_missing(self, text: str, kind: PathKind) -> None:
        """Raise PermanentError if *text*, a missing path, names a file that the skill should have written."""
        is_below = kind is not PathKind.OUTSIDE and os.path.exists(self._root)
        is_name = is_below and not any(character < " " for character in text)
        if is_name and text not in texts_in(self._task.params, keys=True):
            raise PermanentError(f"the result names the file {text!r}, which does not exist")

    @cached_property
    def _params_name_payload(self) -> bool:
        """True if the params name the payload folder: a result may then echo a path to another task's file."""
        return any(points_into(text, self._root) for text in texts_in(self._task.params, keys=True))

    def _is_new(self, parts: Sequence[str]) -> bool:
        """Return whether it is a regular file that was written since the task started."""
        with open_below(self._root, parts) as descriptor:
            status = os.fstat(descriptor)
            return stat.S_ISREG(status.st_mode) and status.st_mtime >= self._started - _CLOCK_STEP_SECONDS

    def _plan(self, parts: tuple[str, ...], origin: Origin | None) -> tuple[Location, list[Upload]]:
        """Return its location and the uploads it needs: none for an unchanged input, which keeps its location."""
        with open_below(self._root, parts) as descriptor:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            below = list(files_below(descriptor, "/".join([self._root, *parts]))) if is_folder else [""]
        if origin is not None and self._stamps(parts, below) == origin.files:
            return origin.location, []
        if self._storage.bucket is None:
            raise PermanentError(
                f"the result names {parts[-1]!r} in the task's folder, but cannot be uploaded: S3_BUCKET is not set"
            )
        target = Location(self._storage.bucket, self._prefix + self._names.name_for(parts[-1]) + "/" * is_folder)
        if not is_folder:
            return target, [Upload(parts, target)]
        names = UniqueNames()
        return target, [
            Upload((*parts, *path.split("/")), Location(target.bucket, target.key + names.name_for(path)))
            for path in below
        ]

    def _stamps(self, parts: tuple[str, ...], below: Iterable[str]) -> dict[str, FileStamp]:
        stamps = {}
        for path in below:
            with open_below(self._root, (*parts, *filter(None, path.split("/")))) as descriptor:
                stamps[path] = FileStamp.of(os.fstat(descriptor))
        return stamps

    def _upload_all(self, uploads: Sequence[Upload], markers: Sequence[Location]) -> None:
        if not uploads and not markers:
            return
        s3 = self._storage.s3()
        meter = ProgressMeter(self._cancellation, "sending", self._checked_size(uploads))
        try:
            self._storage.map(lambda upload: self._upload_one(upload, meter), uploads)
            self._cancellation.check()
            self._storage.map(lambda marker: s3.create_folder_marker(marker, client=self._task.client), markers)
        except BaseException:
            self._delete_uploaded([*(upload.target for upload in uploads), *markers])
            raise

    def _upload_one(self, upload: Upload, meter: ProgressMeter) -> None:
        self._cancellation.check()
        with open_below(self._root, upload.parts) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            self._storage.s3().upload(file, upload.target, client=self._task.client, meter=meter)

    def _checked_size(self, uploads: Iterable[Upload]) -> int:
        """Return the size of all *uploads*. Raise PermanentError if it exceeds the limit."""
        size = 0
        for upload in uploads:
            with open_below(self._root, upload.parts) as descriptor:
                size += os.fstat(descriptor).st_size
        self._uploaded_bytes += size
        if self._uploaded_bytes > self._storage.max_task_bytes:
            raise PermanentError(
                f"the result's files have {self._uploaded_bytes} bytes, but may have {self._storage.max_task_bytes} "
                "(WORKER_MAX_TASK_BYTES)"
            )
        return size

    def _delete_uploaded(self, targets: Sequence[Location]) -> None:
        """Delete the uploads of a failed result. If that fails as well, they are kept."""
        try:
            self._storage.map(self._storage.s3().delete, targets)
        except TaskError as error:
            logger.warning("task %s: uploads of its failed result could not be deleted: %s", self._prefix, error)
