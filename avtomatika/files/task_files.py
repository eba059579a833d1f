"""The files of one attempt of a task: inputs are downloaded before the skill runs, outputs uploaded after it.

Start here to follow a file: ``inputs`` downloads, ``outputs`` uploads, ``task_storage`` is what all tasks share.
"""

import errno
import os
import threading
from dataclasses import replace
from functools import cached_property
from time import time

from avtomatika.core.file_reference import FileReference, with_values
from avtomatika.core.job import Json
from avtomatika.core.texts import texts_in, with_texts
from avtomatika.errors import SettingsError, WorkerFaultError
from avtomatika.schemas.wire import TaskMessage

from .claim_check import ValueWriter
from .inputs import Inputs, sources_in
from .location import Location
from .object_keys import new_run, task_prefix
from .outputs import Outputs
from .payload import TaskFolder
from .safe_names import safe_part
from .task_storage import TaskStorage
from .transfer_progress import Cancellation


class TaskFiles:
    """Creates the task's folder when it is first needed. All methods but ``has_`` ones may block for long."""

    def __init__(self, storage: TaskStorage, task: TaskMessage, cancellation: Cancellation | None = None) -> None:
        self.storage = storage
        self.task = task
        self.cancellation = cancellation or Cancellation()
        self._started = time()
        self._locations: dict[str, Location] = {}
        self._references: list[FileReference] = []
        if not storage.keeps_uris:
            self._locations, self._references = sources_in(task.params)
        self._lock = threading.Lock()
        self._folder: TaskFolder | None = None

    @property
    def has_inputs(self) -> bool:
        return bool(self._locations or self._references)

    @property
    def has_folder(self) -> bool:
        return self._folder is not None

    def has_outputs(self, data: Json) -> bool:
        """Return whether *data* may name files to upload; checks its texts only."""
        if self._folder is None and self.storage.bucket is None:
            return False
        return any(text.startswith("/") for text in texts_in(data))

    def download_inputs(self) -> TaskMessage:
        """Download the objects that the params name; return the task with paths instead of URIs, and values instead of
        references to them. Raise TaskError."""
        params = self.task.params
        if self._references:
            params = with_values(params, self.inputs.load_values(self._references))
            self._locations, _ = sources_in(params)
        if self._locations:
            paths = self.inputs.download(self._locations.values())
            params = with_texts(params, dict(zip(self._locations, paths, strict=True)))
        return self.task if params is self.task.params else replace(self.task, params=params)

    def upload_outputs(self, data: Json) -> Json:
        """Upload the files that *data* names, and return it with URIs instead of paths. Raise TaskError."""
        if not self.has_outputs(data):
            return data
        origins = self.inputs.origins if "inputs" in vars(self) else {}
        return with_texts(data, self.outputs.upload(texts_in(data), origins))

    def close(self) -> None:
        """Remove the task's folder."""
        with self._lock:
            folder, self._folder = self._folder, None
        if folder is not None:
            self.storage.payload.remove_task_folder(folder)

    @property
    def folder(self) -> TaskFolder:
        """The task's folder, created on first access."""
        with self._lock:
            if self._folder is None:
                try:
                    self._folder = self.storage.payload.make_task_folder(self._name)
                except (OSError, SettingsError) as problem:
                    raise _disk_fault(problem) from problem
            return self._folder

    def fault_of(self, problem: BaseException) -> WorkerFaultError | None:
        """Return the WorkerFaultError behind *problem*, raised by the task or its skill: a full disk or a lost folder.
        None if the disk is not the cause."""
        if not isinstance(problem, OSError):
            return None
        is_full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        folder = self._folder
        is_lost = folder is not None and not os.access(folder.path, os.R_OK | os.W_OK | os.X_OK)
        return _disk_fault(problem) if is_full or is_lost else None

    @cached_property
    def inputs(self) -> Inputs:
        return Inputs(self.storage, self.folder, self.task, self.cancellation)

    @cached_property
    def outputs(self) -> Outputs:
        return Outputs(
            self.storage,
            task=self.task,
            prefix=task_prefix(self.task.job_id, self.task.task_id, self._run),
            task_folder=self._name,
            started=self._started,
            cancellation=self.cancellation,
        )

    @cached_property
    def _run(self) -> str:
        """Distinguishes two runs of the same attempt."""
        return f"{self.task.attempt}-{new_run()}"

    @property
    def _name(self) -> str:
        return f"{safe_part(self.task.task_id)}.{self._run}"


def store_large_values(storage: TaskStorage, task: TaskMessage, data: Json) -> Json:
    """Store the large values of *data*, the result of *task*; return it with references to them. Raise TaskError."""
    s3, prefix = storage.s3(), task_prefix(task.job_id, task.task_id, f"{task.attempt}-{new_run()}")
    writer = ValueWriter(str(storage.bucket), prefix, s3.write, client=task.client)
    return writer.fit(data, limit=storage.max_inline_bytes)


def _disk_fault(problem: BaseException) -> WorkerFaultError:
    return WorkerFaultError(f"the payload folder cannot be written to: {problem}", probe={"check": "disk"})
