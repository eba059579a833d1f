"""Files that a skill swaps between the check and the upload."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from avtomatika.errors import PermanentError, TaskError
from avtomatika.files.config import S3Config
from avtomatika.files.outputs import Outputs
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import task

DEADLINE_SECONDS = 30
#: Number of races to lose and to win.
ENOUGH = 20

MakeFiles = Callable[..., TaskFiles]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "secret"
    path.parent.mkdir()
    path.write_bytes(b"secret" * 10)
    return path


def _file_by_link(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def _folder_by_link(path: Path, secret: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)
    secret.rename(secret.parent / path.name)


def _file_by_hard_link(path: Path, secret: Path) -> None:
    path.unlink()
    path.hardlink_to(secret)


def _file_by_fifo(path: Path, secret: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SWAPS = (_file_by_link, _folder_by_link, _file_by_hard_link, _file_by_fifo)


@pytest.mark.parametrize("swap", SWAPS)
def test_files_swapped_after_the_check_are_refused(
    make_files: MakeFiles,
    cloud: ObjectStorage,
    results: str,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    swap: Any,
) -> None:
    files = make_files()
    path = Files(files).path("deep/out.bin")
    path.write_bytes(b"output")
    plan = Outputs._plan

    def plan_and_swap(self: Outputs, *args: Any) -> Any:
        planned = plan(self, *args)
        swap(path, secret)
        return planned

    monkeypatch.setattr(Outputs, "_plan", plan_and_swap)

    with pytest.raises(PermanentError, match=r"is a link|is a hard link|is a FIFO"):
        files.upload_outputs(str(path))

    assert cloud.keys(results) == []


@pytest.mark.parametrize("size", [100, 3 * PART_BYTES])
@pytest.mark.parametrize("swap", [_file_by_link, _folder_by_link, _file_by_hard_link])
def test_files_swapped_during_the_upload_do_not_change_it(
    make_storage: Callable[..., TaskStorage],
    config: S3Config,
    cloud: ObjectStorage,
    proxy: HttpProxy,
    secret: Path,
    *,
    swap: Any,
    size: int,
) -> None:
    files = TaskFiles(make_storage(replace(config, endpoint_url=proxy.url)), task({}))
    path = Files(files).path("deep/out.bin")
    path.write_bytes(body := os.urandom(size))
    swapped: list[str] = []

    def swap_at_the_first_request(method: str, _: str) -> None:
        if not swapped:
            swapped.append(method)
            swap(path, secret)

    proxy.before = swap_at_the_first_request
    uri = files.upload_outputs(str(path))
    files.close()

    assert swapped
    assert cloud.read(uri) == body


def test_a_race_of_swaps_never_uploads_outside_files(
    make_files: MakeFiles, cloud: ObjectStorage, results: str, secret: Path
) -> None:
    files = make_files()
    path = Files(files).path("out.bin")
    path.write_bytes(b"output")
    beside, ended = path.with_name("beside"), threading.Event()

    def swap_for_ever() -> None:
        while not ended.is_set():
            beside.symlink_to(secret)
            os.replace(beside, path)
            beside.write_bytes(b"output")
            os.replace(beside, path)

    swapper = threading.Thread(target=swap_for_ever)
    swapper.start()
    outcomes, deadline = {"sent": 0, "refused": 0}, monotonic() + DEADLINE_SECONDS
    try:
        while min(outcomes.values()) < ENOUGH and monotonic() < deadline:
            try:
                files.upload_outputs(str(path))
                outcomes["sent"] += 1
            except TaskError:
                outcomes["refused"] += 1
    finally:
        ended.set()
        swapper.join()

    assert {cloud.read(f"s3://{results}/{key}") for key in cloud.keys(results)} <= {b"output"}
    assert all(outcomes.values()), outcomes


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_is_refused(make_files: MakeFiles, kind: int) -> None:
    files = make_files()
    path = Files(files).path("device")
    try:
        os.mknod(path, kind | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make devices")

    with pytest.raises(PermanentError, match="is a device"):
        files.upload_outputs(str(path))
