"""The payload folder, and what killed workers leave in it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from avtomatika.errors import SettingsError
from avtomatika.files.payload import LEFTOVER_SECONDS, PayloadFolder

HOLD = """
import sys
from avtomatika.files.payload import PayloadFolder

folder = PayloadFolder(sys.argv[1]).make_task_folder("held")
(folder.inputs / "film.mp4").write_bytes(b"film")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_worker(payload: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a task folder in its hands, which is older than anything may be."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(payload)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    make_old(payload / "tasks" / "held")
    yield process
    process.kill()
    process.communicate()


def make_old(path: Path) -> None:
    os.utime(path, (time() - LEFTOVER_SECONDS - 60,) * 2)


def test_it_is_created_readable_by_its_owner_only(payload: Path) -> None:
    PayloadFolder(payload / "deep")

    assert stat.S_IMODE((payload / "deep").stat().st_mode) == 0o700
    assert stat.S_IMODE((payload / "deep" / "tasks").stat().st_mode) == 0o700


def test_one_that_is_there_keeps_its_mode(payload: Path) -> None:
    payload.mkdir(0o755)

    PayloadFolder(payload)

    assert stat.S_IMODE(payload.stat().st_mode) == 0o755


def test_a_link_is_refused(payload: Path, tmp_path: Path) -> None:
    payload.symlink_to(tmp_path)

    with pytest.raises(SettingsError, match=r"WORKER_PAYLOAD_DIR: .*payloads' is a link"):
        PayloadFolder(payload)


def test_a_folder_that_became_a_link_is_refused(payload: Path, tmp_path: Path) -> None:
    folder = PayloadFolder(payload)
    payload.rename(tmp_path / "moved")
    payload.symlink_to(tmp_path / "moved")

    with pytest.raises(SettingsError, match="is a link"):
        folder.make_task_folder("a")


def test_a_file_is_refused(payload: Path) -> None:
    payload.touch()

    with pytest.raises(SettingsError, match="is not a folder"):
        PayloadFolder(payload)


def test_a_removed_folder_is_created_again(payload: Path) -> None:
    folder = PayloadFolder(payload)
    (payload / "tasks").rmdir()
    payload.rmdir()

    task_folder = folder.make_task_folder("a")

    assert task_folder.inputs.is_dir()
    folder.close()


def test_without_a_path_it_is_temporary() -> None:
    folder = PayloadFolder()
    folder.make_task_folder("a")
    path = Path(folder.path)
    assert path.is_dir()

    folder.close()

    assert not path.exists()


def test_folders_of_killed_workers_are_removed_after_a_day(payload: Path, other_worker: subprocess.Popen[str]) -> None:
    other_worker.send_signal(signal.SIGKILL)
    other_worker.wait()
    young = payload / "tasks" / "young"
    young.mkdir()

    folder = PayloadFolder(payload)
    folder.make_task_folder("a")

    assert sorted(os.listdir(payload / "tasks")) == ["a", "young"]
    folder.close()


def test_folders_of_running_workers_are_kept_at_any_age(payload: Path, other_worker: subprocess.Popen[str]) -> None:
    folder = PayloadFolder(payload)
    folder.make_task_folder("a")

    assert (payload / "tasks" / "held" / "in" / "film.mp4").exists()
    folder.close()


def test_closing_removes_folders_of_aborted_tasks(payload: Path) -> None:
    folder = PayloadFolder(payload)
    folder.make_task_folder("a")

    folder.close()

    assert os.listdir(payload / "tasks") == []


def test_a_skill_that_ends_after_its_worker_closes_no_descriptor_of_others(payload: Path) -> None:
    folder = PayloadFolder(payload)
    task_folder = folder.make_task_folder("t-1")
    folder.close()
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]

    folder.remove_task_folder(task_folder)

    assert all(stat.S_ISCHR(os.fstat(descriptor).st_mode) for descriptor in others)
    for descriptor in others:
        os.close(descriptor)
