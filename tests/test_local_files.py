"""Locks between processes, and atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avtomatika.local_files import LOCK_FILE, is_at, replacing, try_lock, write_atomically


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
