"""``files`` of a skill: the task's own folder, and S3."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from avtomatika.core.blueprint.awaitable import awaitable
from avtomatika.errors import PermanentError

from .location import Location
from .safe_names import parts_of
from .task_files import TaskFiles

T = TypeVar("T")


class _Folder:
    """The methods that sync and async skills share: the local disk is fast."""

    def __init__(self, files: TaskFiles) -> None:
        self._files = files

    def path(self, name: str) -> Path:
        """Return the path for a new file called *name*, which the result may name; *name* may contain folders.

        Its folder is created, and removed with all its files when the task ends.
        """
        path = self._files.folder.outputs.joinpath(*parts_of(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def open(self, name: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Open the file called *name* in the task's folder, like the builtin; close it before the skill returns."""
        return open(self.path(name), mode, **options)


class Files(_Folder):
    """For sync skills."""

    def download(self, uri: str) -> Path:
        """Download an object, or a folder if *uri* ends in ``/``, to the task's folder and return its path."""
        [path] = self._files.inputs.download([Location.of(uri)])
        return Path(path)

    def upload(self, path: str | os.PathLike[str]) -> str:
        """Upload a file or folder now and return its URI. Files that the result names are uploaded without this."""
        text = os.path.abspath(path)
        uris = self._files.outputs.upload([text], self._files.inputs.origins)
        if text not in uris:
            raise PermanentError(f"{text!r} cannot be uploaded: write the file to a path of files.path()")
        return uris[text]

    def list(self, uri: str) -> list[str]:
        """Return the URIs of the objects whose keys start with that of *uri*."""
        return [str(found.location) for found in self._files.inputs.list_objects(Location.of(uri))]


class AsyncFiles(_Folder):
    """For async skills: network transfers are awaited."""

    download = awaitable(Files.download)
    upload = awaitable(Files.upload)
    list = awaitable(Files.list)

    def _blocking(self) -> Files:
        return Files(self._files)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await self._files.storage.run_in_thread(function)
