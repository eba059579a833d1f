"""The payload folder: where a worker's files lie, each attempt of a task in a folder of its own, ``tasks/<name>``.

Whoever works in such a folder holds a lock on it. One that nobody holds was left by a worker that was killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import threading
import weakref
from math import inf
from pathlib import Path
from time import monotonic, time

from avtomatika.errors import SettingsError, TransientError

from .locks import try_lock

logger = logging.getLogger(__name__)

#: The folder of the tasks' folders.
TASKS = "tasks"
#: After so long what was left behind is removed.
LEFT_SECONDS = 24 * 3600.0
#: How often it is looked for.
_LOOK_SECONDS = 3600.0
#: What is written to see whether there is room again.
_PROBE_BYTES = 4 * 1024 * 1024
#: How long whoever was killed may take to let go of what it holds.
_DYING_SECONDS = 2.0


class PayloadFolder:
    """*path* is made, for nobody else to read, where it is not there; without one a temporary folder is, at need."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._given = None if path is None else os.path.abspath(path)
        self._made: str | None = None
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._in_use: set[TaskFolder] = set()
        if self._given is not None:
            _prepare(self._given)

    @property
    def path(self) -> str:
        """Its absolute path; links above it are not resolved."""
        with self._lock:
            if self._given is not None:
                return self._given
            if self._made is None:
                self._made = tempfile.mkdtemp(prefix="avtomatika-")
                weakref.finalize(self, shutil.rmtree, self._made, ignore_errors=True)
            return self._made

    def make_task_folder(self, name: str) -> TaskFolder:
        """A new folder for an attempt of a task; *name* must be safe, and new. Raises OSError."""
        root = self.path
        _prepare(root)
        self._remove_left_overs(root)
        folder = TaskFolder(Path(root, TASKS, name))
        self._in_use.add(folder)
        return folder

    def remove_task_folder(self, folder: TaskFolder) -> None:
        """Remove a folder once: a closed payload folder has removed those of the tasks that still run."""
        try:
            self._in_use.remove(folder)
        except KeyError:
            return
        folder.remove()

    def remove_leftovers(self, prefix: str) -> None:
        """Remove the tasks' folders whose names begin with *prefix*, but for those that somebody alive holds."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(Path(self.path, TASKS)):
                if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                    _remove_if_left(entry.path, patience_seconds=_DYING_SECONDS)

    def check_writable(self, size: int) -> None:
        """Raises TransientError unless there is room for *size* bytes, and a file can be written."""
        try:
            _prepare(self.path)
            free = shutil.disk_usage(self.path).free
            if size > free:
                raise TransientError(f"{size} bytes are needed, but the payload folder has room for {free}")
            with tempfile.TemporaryFile(dir=Path(self.path, TASKS)) as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
        except (OSError, SettingsError) as problem:
            raise TransientError(f"the payload folder cannot be written to: {problem}") from problem

    def close(self) -> None:
        """Remove what is still there of tasks that were given up, and the temporary folder."""
        for folder in list(self._in_use):
            self.remove_task_folder(folder)
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    def _remove_left_overs(self, root: str) -> None:
        with self._lock:
            if monotonic() < self._next_look:
                return
            self._next_look = monotonic() + _LOOK_SECONDS
        for entry in os.scandir(Path(root, TASKS)):
            if entry.is_dir(follow_symlinks=False) and _age_seconds(entry) > LEFT_SECONDS:
                _remove_if_left(entry.path)


class TaskFolder:
    """A folder that is made and locked at birth: ``inputs`` is what was fetched, ``outputs`` what the skill makes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _make_locked(path)
        for inner in (self.inputs, self.outputs, self.unfinished):
            inner.mkdir(0o700)

    @property
    def inputs(self) -> Path:
        return self.path / "in"

    @property
    def outputs(self) -> Path:
        return self.path / "out"

    @property
    def unfinished(self) -> Path:
        """Where a download is until it is complete."""
        return self.path / "part"

    def remove(self) -> None:
        """Remove all that is in it, whatever a skill did to it; what cannot be removed is told to the log."""
        try:
            shutil.rmtree(self.path)
        except OSError:
            _open_up(self.path)
            try:
                shutil.rmtree(self.path)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", self.path, error)
        finally:
            os.close(self._descriptor)


def _prepare(path: str) -> None:
    """Make the folder, and ``tasks`` in it. Raises SettingsError where something else is there."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for folder in (path, f"{path}/{TASKS}"):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            _check(folder)
        except OSError as error:
            raise SettingsError(f"WORKER_PAYLOAD_DIR={path!r} cannot be made: {error.strerror}") from None


def _check(folder: str) -> None:
    mode = os.lstat(folder).st_mode
    if stat.S_ISLNK(mode):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} is a link, which could lead anywhere")
    if not stat.S_ISDIR(mode):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} is no folder")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} cannot be written to")


def _age_seconds(entry: os.DirEntry[str]) -> float:
    try:
        return time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # another worker was quicker
        return 0.0


def _make_locked(path: Path) -> int:
    """Make a folder and acquire its lock, however often another worker removes it in between as one left behind."""
    while True:
        path.mkdir(0o700)
        with contextlib.suppress(FileNotFoundError):
            if (descriptor := try_lock(path, patience_seconds=inf)) is not None:
                return descriptor


def _remove_if_left(path: str, *, patience_seconds: float = 0.0) -> None:
    try:
        descriptor = try_lock(path, patience_seconds=patience_seconds)
    except OSError:
        return
    if descriptor is None:
        return
    try:
        logger.info("removing %s, which a worker left behind", path)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _open_up(path: Path) -> None:
    """Let ourselves into folders that a skill closed."""
    for folder, _, _ in os.walk(path):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
