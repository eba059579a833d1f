"""Programs on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path


def on_terminal(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program on a terminal of 80 columns until it ends; return its exit code and what the terminal received."""
    leader, process = started_on_terminal(command, folder, environment)
    received = bytearray()
    try:
        while chunk := read_from(leader):
            received += chunk
        return process.wait(60), received.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def started_on_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a program on a terminal of 80 columns and 24 lines; return the descriptor of the terminal, and it."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    return leader, process


def read_from(leader: int) -> bytes:
    """Return the next output of the program; nothing when it has ended."""
    try:
        return os.read(leader, 65_536)
    except OSError:
        return b""
