"""The payload folder of a worker's files; each attempt of a task has its own folder in it, ``tasks/<name>``.

The process that runs the task holds a lock on its folder. A folder without a lock was left by a killed worker.
"""

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from time import monotonic, time

from avtomatika.errors import SettingsError, TransientError
from avtomatika.local_files import TemporaryFolder, make_locked, remove_if_unlocked

logger = logging.getLogger(__name__)

#: Name of the folder that contains the tasks' folders.
TASKS = "tasks"
#: Folders of killed workers are removed at this age.
LEFTOVER_SECONDS = 24 * 3600.0
#: Interval at which they are looked for.
_CLEANUP_SECONDS = 3600.0
#: Size of the file that is written to check whether the disk has space again.
_PROBE_BYTES = 4 * 1024 * 1024
#: Time limit for a killed process to release its locks.
_DYING_SECONDS = 2.0


class PayloadFolder:
    """*path* is created if it is missing, readable by its owner only; without one a temporary folder is used."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._given = None if path is None else os.path.abspath(path)
        self._made: TemporaryFolder | None = None
        self._lock = threading.Lock()
        self._next_cleanup = 0.0
        self._in_use: set[TaskFolder] = set()
        if self._given is not None:
            _prepare(self._given)

    @property
    def path(self) -> str:
        """The absolute path; links above it are not resolved."""
        with self._lock:
            if self._given is not None:
                return self._given
            if self._made is None:
                self._made = TemporaryFolder("avtomatika-payload-")
            return str(self._made.path)

    def make_task_folder(self, name: str) -> "TaskFolder":
        """Create a folder for an attempt of a task; *name* must be safe and new. Raise OSError."""
        root = self.path
        _prepare(root)
        self._remove_old_folders(root)
        folder = TaskFolder(Path(root, TASKS, name))
        self._in_use.add(folder)
        return folder

    def remove_task_folder(self, folder: "TaskFolder") -> None:
        """Remove a folder, unless :meth:`close` already removed it."""
        try:
            self._in_use.remove(folder)
        except KeyError:
            return
        folder.remove()

    def remove_leftovers(self, prefix: str) -> None:
        """Remove the tasks' folders whose names start with *prefix* and that no running process has locked."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(Path(self.path, TASKS)):
                if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                    _remove_leftover(entry.path, timeout_seconds=_DYING_SECONDS)

    def check_writable(self, size: int) -> None:
        """Raise TransientError unless *size* bytes are free and a file can be written."""
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
        """Remove the folders of aborted tasks, and the temporary folder."""
        for folder in list(self._in_use):
            self.remove_task_folder(folder)
        if self._made is not None:
            self._made.remove()
            self._made = None

    def _remove_old_folders(self, root: str) -> None:
        with self._lock:
            if monotonic() < self._next_cleanup:
                return
            self._next_cleanup = monotonic() + _CLEANUP_SECONDS
        for entry in os.scandir(Path(root, TASKS)):
            if entry.is_dir(follow_symlinks=False) and _age_seconds(entry) > LEFTOVER_SECONDS:
                _remove_leftover(entry.path)


class TaskFolder:
    """A folder locked from its creation on: ``inputs`` for downloads, ``outputs`` for files of the skill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs, self.outputs = path / "in", path / "out"
        #: The folder of unfinished downloads.
        self.unfinished = path / "part"
        self._descriptor = make_locked(path)
        for inner in (self.inputs, self.outputs, self.unfinished):
            inner.mkdir(0o700)

    def remove(self) -> None:
        """Remove the folder and its files, even if a skill changed their permissions; log what cannot be removed."""
        try:
            shutil.rmtree(self.path)
        except OSError:
            _restore_permissions(self.path)
            try:
                shutil.rmtree(self.path)
            except OSError as error:
                logger.warning("%s cannot be removed: %s", self.path, error)
        finally:
            os.close(self._descriptor)


def _prepare(path: str) -> None:
    """Create the folder and ``tasks`` in it. Raise SettingsError if one of the paths is not a usable folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for folder in (path, f"{path}/{TASKS}"):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            _check(folder)
        except OSError as error:
            raise SettingsError(f"WORKER_PAYLOAD_DIR={path!r} cannot be created: {error.strerror}") from None


def _check(folder: str) -> None:
    mode = os.lstat(folder).st_mode
    if stat.S_ISLNK(mode):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} is a link, which could lead anywhere")
    if not stat.S_ISDIR(mode):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} is not a folder")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(f"WORKER_PAYLOAD_DIR: {folder!r} cannot be written to")


def _age_seconds(entry: os.DirEntry[str]) -> float:
    try:
        return time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # removed by another worker
        return 0.0


def _remove_leftover(path: str, *, timeout_seconds: float = 0.0) -> None:
    if remove_if_unlocked(path, timeout_seconds=timeout_seconds):
        logger.info("removed %s, left by a killed worker", path)


def _restore_permissions(path: Path) -> None:
    """Restore permissions of folders that a skill made inaccessible."""
    for folder, _, _ in os.walk(path):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
