"""The example ``fan_out``."""

from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika.testing import run

from ..support.examples import blueprints_of, run_example, worker_of


def test_the_words_of_1000_files_are_counted(tmp_path: Path) -> None:
    said = run_example("fan_out", tmp_path / "copy")

    files = sorted((tmp_path / "copy" / "texts").iterdir())
    sound = [file for file in files if not file.name.startswith("broken")]
    words = sum(len(file.read_text().split()) for file in sound)
    assert len(files) == 1_000
    assert f"texts: finished, {{'files': {len(sound)}, 'words': {words}, 'unread': ['texts/broken-0.txt is" in said


@pytest.mark.parametrize(("broken", "status"), [(0, "finished"), (10, "finished"), (11, "failed")])
def test_up_to_ten_files_may_be_unreadable(broken: int, status: str, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.txt").write_bytes(b"\xff" if number < broken else b"one two")

    job = run(blueprints_of("fan_out")["count"], {"folder": str(tmp_path)}, skills=worker_of("fan_out"))

    assert job.status == status
    if status == "finished":
        assert (job.result["words"], len(job.result["unread"])) == (2 * (20 - broken), broken)
