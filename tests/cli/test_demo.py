"""``avtomatika demo`` from end to end."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from ..support.cli import as_process
from ..support.processes import processes_in


def test_it_runs_a_job_to_the_contact_sheet_and_leaves_no_process(tmp_path: Path) -> None:
    done = as_process(tmp_path)("demo")

    assert done.code == 0, done.stderr
    token = (tmp_path / "var" / "client_token").read_text()
    assert f'$ TOKEN="{token}"' in done.stdout
    assert (
        len(re.findall(r'^\$ curl -H "X-Client-Token: \$TOKEN" http://localhost:\d+/api/v1/', done.stdout, re.M)) == 3
    )
    assert '"status":"finished"' in done.stdout
    assert "digraph" in done.stdout
    assert re.search(r"job_finished +done", done.stdout)
    (sheet,) = re.findall(r"look at it: (.*)", done.stdout)
    with Image.open(tmp_path / sheet) as picture:
        assert picture.size == (1024, 1112)
    assert processes_in(tmp_path) == set()
