"""The guides of docs/howto: their commands print what is shown, beside the files of their example."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from ..support.cli import Up
from ..support.documents import ROOT, blocks
from ..support.examples import EXAMPLES
from ..test_docs import _run_in, check_what_is_said

pytestmark = [pytest.mark.docs, pytest.mark.faults, pytest.mark.timeout(400)]

GUIDES = sorted((ROOT / "docs" / "howto").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_guide_runs_on_a_server_and_in_memory(guide: Path, tmp_path: Path) -> None:
    folder = tmp_path / guide.stem
    [copied] = {name for name in EXAMPLES.iterdir() if f"cp -r examples/{name.name} /tmp/" in guide.read_text()}
    shutil.copytree(copied, folder, ignore=shutil.ignore_patterns("var", "__pycache__"))
    up = Up(folder)
    try:
        check_what_is_said(up.wait_until_ready(), guide)
        up.end()
    finally:
        up.kill()

    scripts = [block.text for block in blocks(guide) if block.language == "python" and block.file is None]
    runs = [_run_in(folder, [sys.executable, "-c", script]) for script in scripts]

    assert [each.stdout + each.stderr for each in runs if each.returncode != 0] == []
    assert runs
