"""``--reload``: a program that begins anew whenever the code below the working directory changes. For development."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import sleep

import click

from .parent import PARENT_VARIABLE

_LOOK_EVERY_SECONDS = 0.3
#: Folders in which nobody writes code.
_PASSED_OVER = {"node_modules", "var", "venv", "__pycache__"}


def run_reloading(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run *command* until it ends well, or we are told to stop; answers its exit code."""
    keeper = _Keeper(command, {**environ, PARENT_VARIABLE: str(os.getpid())})
    before = {number: signal.signal(number, keeper.on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return keeper.run(folder)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Keeper:
    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = False

    def on_signal(self, number: int, _: object) -> None:
        """Passed on; in a terminal Ctrl-C has reached the program as well, and a second one ends it at once."""
        self._is_stopping = True
        if self._process is not None and number == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def run(self, folder: Path) -> int:
        while True:
            seen = _snapshot(folder)
            self._process = process = subprocess.Popen(self._command, env=dict(self._environ))
            changed: Path | None = None
            while process.poll() is None and changed is None:
                sleep(_LOOK_EVERY_SECONDS)
                changed = _change(seen, folder)
            code = process.poll()
            if self._is_stopping or code == 0:
                return process.wait()
            if code is not None:
                click.echo(f"it ended with exit code {code}; beginning anew when the code has changed", err=True)
                while changed is None and not self._is_stopping:
                    sleep(_LOOK_EVERY_SECONDS)
                    changed = _change(seen, folder)
                if self._is_stopping:
                    return code
            click.echo(f"{changed} has changed; beginning anew", err=True)
            process.terminate()
            process.wait()
            if self._is_stopping:
                return process.returncode


def _change(seen: Mapping[Path, int], folder: Path) -> Path | None:
    """A file that is new, gone, or another one than was *seen*."""
    now = _snapshot(folder)
    return next((path for path in sorted({*seen, *now}) if seen.get(path) != now.get(path)), None)


def _snapshot(folder: Path) -> dict[Path, int]:
    """When each source file below *folder* was written."""
    return dict(_written(folder, folder))


def _written(folder: Path, root: Path) -> Iterator[tuple[Path, int]]:
    with contextlib.suppress(OSError):  # what goes while we look
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in _PASSED_OVER:
                    yield from _written(Path(entry.path), root)
            elif entry.name.endswith(".py"):
                yield Path(entry.path).relative_to(root), entry.stat().st_mtime_ns
