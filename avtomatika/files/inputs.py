"""Downloads the inputs of a task: the objects and folders in S3 that its params name.

The steps, in order: authorize, stat, plan, check the space, download, record where each file came from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from avtomatika.core.file_reference import FileReference, references_in
from avtomatika.core.job import Json
from avtomatika.core.texts import texts_in
from avtomatika.errors import InvalidInputError, WorkerFaultError
from avtomatika.schemas.wire import TaskMessage

from . import claim_check
from .access_policy import AccessPolicy
from .location import FileStamp, Location, Origin
from .payload import TaskFolder
from .s3_client import ObjectInfo
from .safe_names import UniqueNames, safe_part
from .task_storage import TaskStorage
from .transfer_progress import Cancellation, ProgressMeter

if TYPE_CHECKING:
    from .s3_transfer import S3Transfer


def sources_in(params: Mapping[str, Json]) -> tuple[dict[str, Location], list[FileReference]]:
    """Return every text of *params* that is the location of a file, in order and without duplicates, and every
    reference to a value."""
    locations, references = {}, list[FileReference]()
    for text in texts_in(params):
        if text.startswith("s3://") and (location := Location.parse(text)) is not None:
            locations[text] = location
    if locations:  # most params have none
        references += references_in(params)
        for reference in references:
            locations.pop(reference.uri, None)
    return locations, references


@dataclass(frozen=True, slots=True)
class Input:
    """An object or folder in S3, the local *path* of its copy, and the local path of each object in it."""

    location: Location
    path: Path
    files: tuple[tuple[ObjectInfo, Path], ...]


class Inputs:
    """The inputs of one task, downloaded into *folder*; ``origins`` are the origins of local files by absolute path."""

    def __init__(self, storage: TaskStorage, folder: TaskFolder, task: TaskMessage, cancellation: Cancellation) -> None:
        self._storage = storage
        self._folder = folder
        self._task = task
        self._cancellation = cancellation
        self._downloaded_bytes = 0
        self._number = 0
        self.origins: dict[str, Origin] = {}

    def download(self, locations: Iterable[Location]) -> list[str]:
        """Download *locations* and return their local paths in the same order. Raise TaskError."""
        wanted = list(locations)
        for location in wanted:
            self._policy.check_key(location)
        found = self._stat(wanted)
        for location, objects in zip(wanted, found, strict=True):
            self._check_owner(location, objects)
        self._check_space([info.size for objects in found for info in objects])
        inputs = [self._plan(location, objects) for location, objects in zip(wanted, found, strict=True)]
        self._download([file for planned in inputs for file in planned.files])
        for downloaded in inputs:
            self._record(downloaded)
        return [str(downloaded.path) for downloaded in inputs]

    def load_values(self, references: Iterable[FileReference]) -> dict[str, Json]:
        """Return the values of *references* by URI. Raise TaskError: TransientError if one is missing or different."""
        found: dict[str, Json] = {}
        for reference in references:
            if reference.uri in found:
                continue
            self._cancellation.check()
            location = self._policy.authorize(reference.uri, lambda place: self._s3.stat(place).client)
            self._check_space([reference.size])
            found[reference.uri] = claim_check.load(reference, location, self._s3.read)
        return found

    def list_objects(self, prefix: Location) -> list[ObjectInfo]:
        """Return the objects whose keys start with that of *prefix*. Raise TaskError."""
        self._policy.check_prefix(prefix)
        found = self._s3.list_all(prefix)
        self._check_owner(prefix, found)
        return found

    @cached_property
    def _s3(self) -> S3Transfer:
        return self._storage.s3()

    @cached_property
    def _policy(self) -> AccessPolicy:
        return AccessPolicy(self._s3.config, self._task.job_id, self._task.client)

    def _stat(self, locations: Sequence[Location]) -> list[list[ObjectInfo]]:
        folders = {location: self._s3.list_all(location) for location in locations if location.is_folder}
        single = [location for location in locations if not location.is_folder]
        infos = dict(
            zip(single, self._storage.map(self._s3.stat, single, cancellation=self._cancellation), strict=True)
        )
        return [folders[location] if location.is_folder else [infos[location]] for location in locations]

    def _check_owner(self, location: Location, objects: Sequence[ObjectInfo]) -> None:
        """A folder below a job's prefix has one owner, so its first object decides. Listings lack metadata."""
        first = objects[0]
        self._policy.check_owner(location, lambda: first.client or self._s3.stat(first.location).client)

    def _check_space(self, sizes: Iterable[int]) -> None:
        size = sum(sizes)
        self._downloaded_bytes += size
        if self._downloaded_bytes > self._storage.max_task_bytes:
            raise InvalidInputError(
                f"the task's files have {self._downloaded_bytes} bytes, but may have {self._storage.max_task_bytes} "
                "(WORKER_MAX_TASK_BYTES)"
            )
        disk = shutil.disk_usage(self._folder.path)
        if size > disk.free:
            probe = {"check": "disk", "bytes": str(size)} if size < disk.total else None
            message = f"the task's files have {size} bytes, but the payload folder has room for {disk.free}"
            raise WorkerFaultError(message, probe=probe)

    def _plan(self, location: Location, objects: Sequence[ObjectInfo]) -> Input:
        """Choose local paths and create the folders for them. Each input has its own folder, so it keeps its name."""
        folder = self._folder.inputs / str(self._number)
        self._number += 1
        folder.mkdir(0o700)
        name = location.key.rstrip("/").rpartition("/")[2] or location.bucket
        path = folder / safe_part(name)
        if not location.is_folder:
            return Input(location, path, ((objects[0], path),))
        path.mkdir(0o700)
        names, files = UniqueNames(), []
        for info in objects:
            below = info.location.key.removeprefix(location.key)
            if below and not below.endswith("/"):  # otherwise a marker of a folder
                file = path / names.name_for(below)
                file.parent.mkdir(parents=True, exist_ok=True)
                files.append((info, file))
        return Input(location, path, tuple(files))

    def _download(self, files: Sequence[tuple[ObjectInfo, Path]]) -> None:
        meter = ProgressMeter(self._cancellation, "fetching", sum(info.size for info, _ in files))

        def download(file: tuple[ObjectInfo, Path]) -> None:
            info, path = file
            if not self._copy_from_cache(info, path, meter):
                self._s3.download(info, path, unfinished=self._folder.unfinished, meter=meter)

        self._storage.map(download, files, cancellation=self._cancellation)

    def _copy_from_cache(self, info: ObjectInfo, path: Path, meter: ProgressMeter) -> bool:
        """Copy an object from the cache, which downloads it if needed. Return False if it is not cacheable."""
        if self._storage.cache is None:
            return False
        from .s3_errors import translated_errors  # loads boto3

        is_new = False

        def download(target: Path, folder: Path) -> None:
            nonlocal is_new
            is_new = True
            self._s3.download(info, target, unfinished=folder, meter=meter)

        with translated_errors(info.location):
            is_copied = self._storage.cache.copy_to(
                path, info, download, unfinished=self._folder.unfinished, cancellation=self._cancellation
            )
        if is_copied and not is_new:
            meter.add(info.size)
        return is_copied

    def _record(self, downloaded: Input) -> None:
        """Record the origin of the input, and of each file in a folder."""
        path, location = downloaded.path, downloaded.location
        stamps = {file: FileStamp.of(file.stat()) for _, file in downloaded.files}
        self.origins[str(path)] = Origin(location, {_relative(file, path): stamp for file, stamp in stamps.items()})
        if location.is_folder:
            for info, file in downloaded.files:
                self.origins[str(file)] = Origin(info.location, {"": stamps[file]})


def _relative(file: Path, path: Path) -> str:
    return "" if file == path else str(file.relative_to(path))
