"""Shut down the embedded server when ``avtomatika up`` was killed: ``python -m avtomatika.cli.server_guard``.

The guard waits for the end of its standard input, a pipe that ``up`` holds open. It shuts the server down when the
processes of the folder have ended as well, unless another ``up`` has adopted the server meanwhile.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from avtomatika.errors import ConflictError

from .embedded import EmbeddedServer, node_folders
from .var_folder import abandoned_folder


@contextmanager
def guarded() -> Iterator[None]:
    """Run a guard of the server of this folder until the context ends."""
    command = (sys.executable, "-m", __name__)
    guard = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


def main() -> None:
    sys.stdin.read()
    with suppress(ConflictError), abandoned_folder():
        for folder in node_folders():
            EmbeddedServer(folder).stop()


if __name__ == "__main__":
    main()
