"""The ``var/`` folder: everything that a running installation writes, readable by its owner only.

A folder has one ``up``. It holds two locks: its own, and one that all its child processes inherit. So the folder is
free when the last child has ended, even if ``up`` was killed.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from avtomatika.errors import ConflictError
from avtomatika.local_files import LOCK_FILE, acquire, write_atomically
from avtomatika.local_installation import VAR

#: Children of a killed ``up`` finish their work and end within this time.
_ORPHANS_SECONDS = 40.0


def private_folder(var: Path = VAR) -> Path:
    """Return *var*, creating it if necessary."""
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    return var


def secret(name: str, var: Path = VAR) -> str:
    """Return the secret in ``var/<name>``, generating it on first use."""
    file = private_folder(var) / name
    if not file.exists():
        write_atomically(file, secrets.token_urlsafe(32).encode(), file.with_suffix(".new"))
    return file.read_text().strip()


@contextmanager
def folder_lock(var: Path = VAR) -> Iterator[int]:
    """Hold the locks of this folder; yields the descriptor of the lock that child processes inherit.

    Waits until the children of a killed ``up`` have ended. Raises ConflictError if another ``up`` runs in the folder.
    """
    with _locked(private_folder(var) / "up.lock") as own:
        os.truncate(own, 0)
        os.write(own, str(os.getpid()).encode())
        with _locked(var / "lock", _ORPHANS_SECONDS) as inherited:
            yield inherited


@contextmanager
def abandoned_folder(var: Path = VAR) -> Iterator[None]:
    """Hold the lock of the children once those of a killed ``up`` have ended; ConflictError if another ``up`` runs."""
    with _locked(var / "lock", _ORPHANS_SECONDS):
        with _locked(var / "up.lock"):
            pass
        yield


def announce(url: str, var: Path = VAR) -> None:
    """Record the URL of the web of this folder."""
    content = json.dumps({"pid": os.getpid(), "url": url}).encode()
    write_atomically(var / "up.json", content, var / "up.json.new")


def withdraw(var: Path = VAR) -> None:
    """Remove the record of :func:`announce`."""
    (var / "up.json").unlink(missing_ok=True)


@contextmanager
def _locked(file: Path, timeout_seconds: float = 0.0) -> Iterator[int]:
    descriptor = os.open(file, LOCK_FILE, 0o600)
    try:
        if not acquire(descriptor):
            _wait_for_lock(descriptor, timeout_seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, timeout_seconds: float) -> None:
    if timeout_seconds:
        click.echo("waiting for processes of an earlier avtomatika up to end", err=True)
    if acquire(descriptor, timeout_seconds=timeout_seconds):
        return
    holder = os.read(descriptor, 20).decode()
    who = f"process {holder}" if holder else "a child of an earlier one"
    raise ConflictError(f"avtomatika up already runs in {Path.cwd()}: {who}")
