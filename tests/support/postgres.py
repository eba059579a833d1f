"""A PostgreSQL server of a test's own, which it may kill and restart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .ports import free_port
from .processes import Process
from .waiting import wait_until


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian's are not in PATH."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).resolve().parent if found else debian[-1].parent if debian else None


class Postgres:
    """A server with one empty database in *folder*. It syncs every commit, so a kill loses none."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._port = programs, folder, free_port()
        # PostgreSQL refuses to run as root; Debian's package has created a user for it.
        self._as_user: Sequence[str] = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        else:
            self._as_user = []
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
        command = [*self._as_user, programs / "initdb", "-D", folder / "data", *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        self.start()

    @property
    def uri(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start the server, as soon as the processes of a killed one have ended."""
        wait_until(self._start, 120, lambda: self._process.log, pause_seconds=0.5)

    def _start(self) -> bool:
        command = [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self._port), "-k", ""]
        log = self._folder / "log"
        self._process = Process([*self._as_user, *command, "-h", "127.0.0.1"], self._folder, {}, log=log)
        wait_until(lambda: self._is_ready() or not self._process.is_running, 120, lambda: self._process.log)
        return self._process.is_running

    def kill(self) -> None:
        """Send SIGKILL to the server; its other processes end when they notice it."""
        self._process.kill()

    def _is_ready(self) -> bool:
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.run(ready, check=False).returncode == 0


@contextmanager
def running_postgres(programs: Path) -> Iterator[Postgres]:
    """Run a server in a folder that its user can enter, as those of pytest cannot be."""
    with TemporaryDirectory(prefix="avtomatika-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(programs, Path(folder))
        yield server
        server.kill()
