"""``--reload``: restart a program when code below the working directory changes, for development."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import sleep

import click

from .parent import PARENT_VARIABLE

_POLL_SECONDS = 0.3
#: Folders without source code.
_IGNORED = {"node_modules", "var", "venv", "__pycache__"}


def run_reloading(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run *command* until it exits with 0 or a signal stops us; return its exit code."""
    environ = {**environ, PARENT_VARIABLE: str(os.getpid())}
    signals, processes = list[int](), list[subprocess.Popen[bytes]]()

    def on_signal(number: int, _: object) -> None:
        """Forward SIGTERM; a terminal sends Ctrl-C to the program itself, and a second one ends it immediately."""
        signals.append(number)
        if processes and number == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                processes[-1].send_signal(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while True:
            seen = _snapshot(folder)
            process = subprocess.Popen(command, env=environ)
            processes[:] = [process]
            changed: Path | None = None
            while process.poll() is None and changed is None:
                sleep(_POLL_SECONDS)
                changed = _change(seen, folder)
            code = process.poll()
            if signals or code == 0:
                return process.wait()
            if code is not None:
                click.echo(f"exited with code {code}, waiting for a change of the code", err=True)
                while changed is None and not signals:
                    sleep(_POLL_SECONDS)
                    changed = _change(seen, folder)
                if signals:
                    return code
            click.echo(f"{changed} changed, restarting", err=True)
            process.terminate()
            process.wait()
            if signals:
                return process.returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _change(seen: Mapping[Path, int], folder: Path) -> Path | None:
    """Return a file that was added, removed or modified since *seen*."""
    now = _snapshot(folder)
    return next((path for path in sorted({*seen, *now}) if seen.get(path) != now.get(path)), None)


def _snapshot(folder: Path) -> dict[Path, int]:
    """Return the modification time of each source file below *folder*."""
    return dict(_written(folder, folder))


def _written(folder: Path, root: Path) -> Iterator[tuple[Path, int]]:
    with contextlib.suppress(OSError):  # removed during the scan
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in _IGNORED:
                    yield from _written(Path(entry.path), root)
            elif entry.name.endswith(".py"):
                yield Path(entry.path).relative_to(root), entry.stat().st_mtime_ns
