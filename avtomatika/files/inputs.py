"""Inputs: what a task's params name in S3, brought into its folder; and whether a skill left it as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avtomatika.core.job import Json
from avtomatika.core.texts import texts_in
from avtomatika.errors import InvalidInputError, WorkerFaultError

from .access_policy import AccessPolicy
from .location import Location
from .payload import TaskFolder
from .safe_names import UniqueNames, safe_part
from .transfer_progress import Cancellation, ProgressMeter

if TYPE_CHECKING:
    from .s3_transfer import ObjectInfo, S3Transfer
    from .task_storage import TaskStorage


def locations_in(params: Mapping[str, Json]) -> dict[str, Location]:
    """Every text of *params* that is a location, with it; each once, in order."""
    locations = {}
    for text in texts_in(params):
        if text.startswith("s3://") and (location := Location.parse(text)) is not None:
            locations[text] = location
    return locations


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file is known by while nobody writes to it."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an input came from, and its files by their path below it, as they came; that of a lone file is empty."""

    location: Location
    files: Mapping[str, FileStamp]


class Inputs:
    """What was fetched for one task, which *reader* stands for, into *folder*; ``origins`` by absolute path."""

    def __init__(
        self, storage: TaskStorage, folder: TaskFolder, reader: AccessPolicy, cancellation: Cancellation
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._reader = reader
        self._cancellation = cancellation
        self._fetched_bytes = 0
        self._number = 0
        self.origins: dict[str, Origin] = {}

    def download(self, locations: Iterable[Location]) -> list[str]:
        """Paths of the *locations*, in order, once all of them are there. Raises TaskError."""
        wanted = list(locations)
        s3 = self._storage.s3()
        for location in wanted:
            self._reader.check(location, s3.config)
        folders = {location: s3.list(location) for location in wanted if location.is_folder}
        lone = [location for location in wanted if not location.is_folder]
        objects = dict(zip(lone, self._storage.map(s3.stat, lone, cancellation=self._cancellation), strict=True))
        for location in wanted:
            if self._reader.needs_proof(location, s3.config):
                proof = objects.get(location) or s3.stat(folders[location][0].location)
                self._reader.check_proof(location, proof.client)
        self._make_room([*objects.values(), *(found for each in folders.values() for found in each)])
        plans = [
            self._plan_folder(location, folders[location])
            if location.is_folder
            else self._plan_object(location, objects[location])
            for location in wanted
        ]
        self._download(s3, [file for _, files in plans for file in files])
        for location, (path, files) in zip(wanted, plans, strict=True):
            states = {_below(file, path): FileStamp.of(file.stat()) for _, file in files}
            self.origins[str(path)] = Origin(location, states)
            if location.is_folder:
                self._remember_files(files)
        return [str(path) for path, _ in plans]

    def list_objects(self, location: Location) -> list[ObjectInfo]:
        """What is there whose keys begin like *location*. Raises TaskError."""
        s3 = self._storage.s3()
        self._reader.check_listing(location, s3.config)
        found = s3.list(location)
        if self._reader.needs_proof(location, s3.config):
            self._reader.check_proof(location, s3.stat(found[0].location).client)
        return found

    def _plan_object(self, location: Location, found: ObjectInfo) -> tuple[Path, list[tuple[ObjectInfo, Path]]]:
        path = self._next_folder() / safe_part(location.key.rpartition("/")[2])
        return path, [(found, path)]

    def _plan_folder(
        self, location: Location, objects: Iterable[ObjectInfo]
    ) -> tuple[Path, list[tuple[ObjectInfo, Path]]]:
        name = location.key.rstrip("/").rpartition("/")[2] or location.bucket
        path = self._next_folder() / safe_part(name)
        path.mkdir(0o700)
        names, files = UniqueNames(), []
        for found in objects:
            below = found.location.key.removeprefix(location.key)
            if below and not below.endswith("/"):  # else it only says that there is a folder
                file = path / names.name_for(below)
                file.parent.mkdir(parents=True, exist_ok=True)
                files.append((found, file))
        return path, files

    def _next_folder(self) -> Path:
        """Each input has a folder of its own, so that it can keep its name."""
        folder = self._folder.inputs / str(self._number)
        self._number += 1
        folder.mkdir(0o700)
        return folder

    def _make_room(self, objects: Iterable[ObjectInfo]) -> None:
        size = sum(found.size for found in objects)
        self._fetched_bytes += size
        if self._fetched_bytes > self._storage.max_task_bytes:
            raise InvalidInputError(
                f"the task's files have {self._fetched_bytes} bytes, but may have {self._storage.max_task_bytes} "
                "(WORKER_MAX_TASK_BYTES)"
            )
        disk = shutil.disk_usage(self._folder.path)
        if size > disk.free:
            probe = {"check": "disk", "bytes": str(size)} if size < disk.total else None
            message = f"the task's files have {size} bytes, but the payload folder has room for {disk.free}"
            raise WorkerFaultError(message, probe=probe)

    def _download(self, s3: S3Transfer, files: list[tuple[ObjectInfo, Path]]) -> None:
        meter = self._cancellation.progress_meter("fetching", sum(found.size for found, _ in files))

        def download(file: tuple[ObjectInfo, Path]) -> None:
            found, path = file
            if not self._is_cached(s3, found, path, meter):
                s3.download(found, path, unfinished=self._folder.unfinished, meter=meter)

        self._storage.map(download, files, cancellation=self._cancellation)

    def _is_cached(self, s3: S3Transfer, found: ObjectInfo, path: Path, meter: ProgressMeter) -> bool:
        """Whether the cache has brought it, be it that it had to be fetched for that."""
        if self._storage.cache is None:
            return False
        from .s3_errors import translated_errors  # loads boto3

        fetched: list[ObjectInfo] = []

        def fetch(target: Path, folder: Path) -> None:
            fetched.append(found)
            s3.download(found, target, unfinished=folder, meter=meter)

        unfinished = self._folder.unfinished
        with translated_errors(found.location):
            is_there = self._storage.cache.bring(
                found, path, fetch, unfinished=unfinished, cancellation=self._cancellation
            )
        if is_there and not fetched:
            meter.add(found.size)
        return is_there

    def _remember_files(self, files: Iterable[tuple[ObjectInfo, Path]]) -> None:
        """A file of a folder has an origin of its own."""
        for found, file in files:
            self.origins[str(file)] = Origin(found.location, {"": FileStamp.of(file.stat())})


def _below(file: Path, path: Path) -> str:
    return "" if file == path else str(file.relative_to(path))
