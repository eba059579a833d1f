"""The ``var/`` folder: secrets made once, one holder at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from time import monotonic

import pytest

from avtomatika.cli.var_folder import announce, folder_lock, secret, withdraw
from avtomatika.errors import ConflictError
from avtomatika.local_installation import announced

#: Holds the folder; says so; has a child that holds it too and writes its process id; then waits to be killed.
HOLD_WITH_A_CHILD = """
import subprocess, sys, time
from pathlib import Path
from avtomatika.cli.var_folder import folder_lock
with folder_lock(Path(sys.argv[1])) as lock:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], pass_fds=[lock])
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_a_secret_is_generated_once_and_private(tmp_path: Path) -> None:
    var = tmp_path / "var"

    first, second = secret("client_token", var), secret("client_token", var)

    assert first == second
    assert len(first) > 40
    assert secret("secret_key", var) != first
    assert (var / "client_token").stat().st_mode & 0o777 == 0o600
    assert var.stat().st_mode & 0o777 == 0o700


def test_a_second_up_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path),
        pytest.raises(ConflictError, match=f"already runs in .*: process {os.getpid()}"),
        folder_lock(tmp_path),
    ):
        pass


def test_the_folder_is_free_after_up_ends(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        pass

    with folder_lock(tmp_path) as lock:
        assert lock > 0


def test_the_folder_of_a_killed_up_is_free_when_its_children_have_ended(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_WITH_A_CHILD, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert holder.stdout is not None
    with holder.stdout as said:
        child = int(said.readline())
    holder.kill()
    holder.wait()
    Timer(0.3, os.kill, (child, signal.SIGKILL)).start()
    began = monotonic()

    with folder_lock(tmp_path):
        assert monotonic() - began > 0.2


def test_an_announced_url_is_known_until_withdrawn(tmp_path: Path) -> None:
    announce("http://localhost:8081", tmp_path)
    assert announced(tmp_path) == {"pid": os.getpid(), "url": "http://localhost:8081"}

    withdraw(tmp_path)
    assert announced(tmp_path) is None


def test_the_url_of_a_dead_process_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"pid": 0, "url": "http://localhost:8081"}')

    assert announced(tmp_path) is None
