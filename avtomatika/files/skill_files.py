"""What a skill gets when it asks for ``files``: its own folder, and S3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

from avtomatika.errors import InvalidInputError, PermanentError

from .location import Location
from .safe_names import parts_of
from .task_files import TaskFiles


class _Folder:
    """The part that is the same for sync and async skills: the local disk is near."""

    def __init__(self, files: TaskFiles) -> None:
        self._files = files

    def path(self, name: str) -> Path:
        """Where to put a file called *name* (it may have folders), to be named in the result.

        The folder is there, and is removed with all that is in it when the task has ended.
        """
        path = self._files.folder.outputs.joinpath(*parts_of(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def open(self, name: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Open the file called *name* in the task's folder, as the builtin does it; close it before you return."""
        return open(self.path(name), mode, **options)

    def _download(self, uri: str) -> Path:
        [path] = self._files.inputs.download([_location(uri)])
        return Path(path)

    def _upload(self, path: str | os.PathLike[str]) -> str:
        text = os.path.abspath(path)
        uris = self._files.outputs.upload([text], self._files.inputs.origins)
        if text not in uris:
            raise PermanentError(f"{text!r} is no file that can be sent: put it where files.path() says")
        return uris[text]

    def _list(self, uri: str) -> list[str]:
        return [str(found.location) for found in self._files.inputs.list_objects(_location(uri))]


class Files(_Folder):
    """For sync skills."""

    def download(self, uri: str) -> Path:
        """Bring an object, or with a ``/`` at its end a folder, into the task's folder."""
        return self._download(uri)

    def upload(self, path: str | os.PathLike[str]) -> str:
        """Send a file or folder now; answers its URI. What the result names is sent without this."""
        return self._upload(path)

    def list(self, uri: str) -> list[str]:
        """URIs of the objects whose keys begin like *uri*."""
        return self._list(uri)


class AsyncFiles(_Folder):
    """For async skills: what goes through the network is awaited."""

    async def download(self, uri: str) -> Path:
        """Bring an object, or with a ``/`` at its end a folder, into the task's folder."""
        return await self._files.storage.run_in_thread(lambda: self._download(uri))

    async def upload(self, path: str | os.PathLike[str]) -> str:
        """Send a file or folder now; answers its URI. What the result names is sent without this."""
        return await self._files.storage.run_in_thread(lambda: self._upload(path))

    async def list(self, uri: str) -> list[str]:
        """URIs of the objects whose keys begin like *uri*."""
        return await self._files.storage.run_in_thread(lambda: self._list(uri))


def _location(uri: str) -> Location:
    location = Location.parse(uri)
    if location is None:
        raise InvalidInputError(f"{uri!r} is not of the form s3://bucket/key")
    return location
