"""Classifies the paths in a result by their text alone; files are checked when they are opened."""

import os
from dataclasses import dataclass
from enum import Enum, auto

from .payload import TASKS

#: Linux has no longer paths.
_MAX_PATH = 4096


class PathKind(Enum):
    NOT_A_PATH = auto()  # not an absolute path
    OUTSIDE = auto()  # not below the payload folder, or through ".."
    NO_TASK = auto()  # below the payload folder, but not in a task's folder
    OTHER_TASK = auto()  # in the folder of another task or attempt
    OWN_TASK = auto()  # the task's folder, or below it


@dataclass(frozen=True, slots=True)
class ClassifiedPath:
    """*parts* are the path below the payload folder; empty if it is not below it."""

    kind: PathKind
    parts: tuple[str, ...] = ()


def classified_path(text: str, *, root: str, task_folder: str) -> ClassifiedPath:
    """Classify *text*; *root* is the payload folder and *task_folder* the name of the task's folder.

    >>> classified_path("/p/tasks/t1/out/a.mp4", root="/p", task_folder="t1")
    ClassifiedPath(kind=<PathKind.OWN_TASK: 5>, parts=('tasks', 't1', 'out', 'a.mp4'))
    >>> classified_path("/p/../etc/passwd", root="/p", task_folder="t1").kind
    <PathKind.OUTSIDE: 2>
    """
    if not text.startswith("/") or "\0" in text or len(text) > _MAX_PATH:
        return ClassifiedPath(PathKind.NOT_A_PATH)
    below = text.removeprefix(root)
    if below == text or not below.startswith("/") or ".." in below.split("/"):
        return ClassifiedPath(PathKind.OUTSIDE)
    parts = tuple(part for part in below.split("/") if part not in ("", "."))
    if len(parts) < 2 or parts[0] != TASKS:
        return ClassifiedPath(PathKind.NO_TASK, parts)
    return ClassifiedPath(PathKind.OWN_TASK if parts[1] == task_folder else PathKind.OTHER_TASK, parts)


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
