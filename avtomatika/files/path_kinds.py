"""Where a text in a result points to, judged by the text alone; what lies there is seen when it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum, auto

from .payload import TASKS

#: No file system has longer paths.
_MAX_PATH = 4096


class PathKind(Enum):
    NOWHERE = auto()  # no absolute path at all
    OUTSIDE = auto()  # not below the payload folder, or by a way that leads out of it
    ELSEWHERE = auto()  # below the payload folder, in no task's folder
    FOREIGN = auto()  # in the folder of another task, or another attempt
    OWN = auto()  # the task's folder, or below it


@dataclass(frozen=True, slots=True)
class ClassifiedPath:
    """*parts* lead from the payload folder to it; empty where it is not below it."""

    kind: PathKind
    parts: tuple[str, ...] = ()


def classified_path(text: str, *, root: str, task_folder: str) -> ClassifiedPath:
    """What *text* is, if *root* is the payload folder and *task_folder* the name of the task's own.

    >>> classified_path("/p/tasks/t1/out/a.mp4", root="/p", task_folder="t1")
    ClassifiedPath(kind=<PathKind.OWN: 5>, parts=('tasks', 't1', 'out', 'a.mp4'))
    >>> classified_path("/p/../etc/passwd", root="/p", task_folder="t1").kind
    <PathKind.OUTSIDE: 2>
    """
    if not text.startswith("/") or "\0" in text or len(text) > _MAX_PATH:
        return ClassifiedPath(PathKind.NOWHERE)
    below = text.removeprefix(root)
    if below == text or not below.startswith("/") or ".." in below.split("/"):
        return ClassifiedPath(PathKind.OUTSIDE)
    parts = tuple(part for part in below.split("/") if part not in ("", "."))
    if len(parts) < 2 or parts[0] != TASKS:
        return ClassifiedPath(PathKind.ELSEWHERE, parts)
    return ClassifiedPath(PathKind.OWN if parts[1] == task_folder else PathKind.FOREIGN, parts)


def points_into(text: str, root: str) -> bool:
    """Whether *text* speaks of the payload folder: it contains its path, or is a path that leads there by a detour.

    >>> points_into("see /p/out.mp4", "/p"), points_into("/x/../p/out.mp4", "/p"), points_into("/pp", "/p")
    (True, True, False)
    """
    if f"{root}/" in text or text == root:
        return True
    if not text.startswith("/") or "\0" in text or len(text) > _MAX_PATH:
        return False
    return f"{os.path.realpath(text)}/".startswith(f"{os.path.realpath(root)}/")
