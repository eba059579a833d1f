"""Locks between processes, and atomic writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from avtomatika.local_files import LOCK_FILE, TemporaryFolder, is_at, replacing, try_lock, write_atomically


def test_a_lock_is_exclusive_and_released_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = try_lock(path, LOCK_FILE)
    assert held is not None

    assert try_lock(path, LOCK_FILE) is None
    assert try_lock(path, LOCK_FILE, timeout_seconds=0.02) is None

    os.close(held)
    again = try_lock(path, LOCK_FILE)
    assert again is not None
    os.close(again)


def test_a_removed_folder_is_recognized(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    held = try_lock(folder)
    assert held is not None
    assert is_at(held, folder)

    folder.rmdir()
    folder.mkdir()

    assert not is_at(held, folder)
    os.close(held)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_temporary_folder_is_private_and_removed(temporary: Path) -> None:
    folder = TemporaryFolder("work-")
    mode = folder.path.stat().st_mode & 0o777

    folder.remove()

    assert mode == 0o700
    assert list(temporary.iterdir()) == []


def test_a_temporary_folder_of_a_killed_process_is_removed_by_the_next(temporary: Path) -> None:
    program = """if True:
        import sys
        from avtomatika.local_files import TemporaryFolder
        folder = TemporaryFolder("work-")
        print(folder.path, flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)}
    ) as process:
        assert process.stdout is not None
        killed = Path(process.stdout.readline().strip())
        beside = TemporaryFolder("work-")
        assert killed.is_dir()
        process.send_signal(signal.SIGKILL)
    (killed / "film.mp4").write_bytes(b"large")

    last = TemporaryFolder("work-")

    assert set(temporary.iterdir()) == {beside.path, last.path}


def test_a_forked_process_does_not_remove_the_temporary_folder(temporary: Path) -> None:
    folder = TemporaryFolder("work-")
    child = os.fork()
    if child == 0:
        folder.remove()
        os._exit(0)
    os.waitpid(child, 0)

    assert folder.path.is_dir()


def test_an_atomic_write_is_private_and_leaves_no_unfinished_file(tmp_path: Path) -> None:
    path, unfinished = tmp_path / "result.json", tmp_path / "result.part"

    write_atomically(path, b"{}", unfinished, is_durable=True)

    assert (path.read_bytes(), path.stat().st_mode & 0o777, unfinished.exists()) == (b"{}", 0o600, False)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path, unfinished = tmp_path / "file", tmp_path / "file.part"
    path.write_text("old")

    def fail() -> None:
        with replacing(path, unfinished) as file:
            file.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()

    assert (path.read_text(), unfinished.exists()) == ("old", False)
