"""The ``var/`` folder: everything that a running installation writes, for its owner alone.

One ``up`` a folder. It holds two locks: its own, and one that every process inherits which it starts; so the folder is
free again when the last of them is gone, however the first one ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import click

from avtomatika.errors import ConflictError

#: Relative to the working directory.
VAR = Path("var")
#: What a killed ``up`` has left behind drains its work and ends; longer than any of it may take.
_LEFT_OVERS_SECONDS = 40.0


def private_folder(var: Path = VAR) -> Path:
    """*var*, made if it is not there."""
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    return var


def secret(name: str, var: Path = VAR) -> str:
    """What ``var/<name>`` holds: made up once, readable by its owner alone."""
    file = private_folder(var) / name
    if not file.exists():
        half = file.with_suffix(".new")
        with open(half, "w", opener=_private) as new:
            new.write(secrets.token_urlsafe(32))
        half.replace(file)
    return file.read_text().strip()


@contextmanager
def folder_lock(var: Path = VAR) -> Iterator[int]:
    """Be the one ``up`` of this folder; yields the descriptor of the lock that children are to inherit.

    Waits for what a killed ``up`` has left behind to end; ConflictError if another ``up`` runs here.
    """
    with _locked(private_folder(var) / "up.lock") as own:
        os.truncate(own, 0)
        os.write(own, str(os.getpid()).encode())
        with _locked(var / "lock", _LEFT_OVERS_SECONDS) as inherited:
            yield inherited


def announce(url: str, var: Path = VAR) -> None:
    """Write down where the web of this folder answers."""
    half = var / "up.json.new"
    half.write_text(json.dumps({"pid": os.getpid(), "url": url}))
    half.replace(var / "up.json")


def withdraw(var: Path = VAR) -> None:
    """Take back what :func:`announce` said."""
    (var / "up.json").unlink(missing_ok=True)


def announced(var: Path = VAR) -> dict[str, str | int] | None:
    """``{"pid", "url"}`` of the ``up`` that runs in this folder, once its web answers."""
    try:
        found: dict[str, str | int] = json.loads((var / "up.json").read_text())
    except (OSError, ValueError):
        return None
    return found if _is_alive(int(found["pid"])) else None


@contextmanager
def _locked(file: Path, patience_seconds: float = 0.0) -> Iterator[int]:
    descriptor = _private(str(file), os.O_RDWR | os.O_CREAT)
    try:
        if not _try_lock(descriptor):
            _wait_for_lock(descriptor, patience_seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, patience_seconds: float) -> None:
    if patience_seconds:
        click.echo("what an earlier avtomatika up left behind still ends; waiting for it", err=True)
    deadline = monotonic() + patience_seconds
    while monotonic() < deadline:
        sleep(0.1)
        if _try_lock(descriptor):
            return
    holder = os.read(descriptor, 20).decode()
    who = f"process {holder}" if holder else "what an earlier one has left behind"
    raise ConflictError(f"avtomatika up already runs in {Path.cwd()}: {who}")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
