"""``avtomatika demo`` from end to end."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import requests
from PIL import Image

from ..support.cli import as_process
from ..support.processes import AVTOMATIKA, Process, processes_in
from ..support.waiting import wait_until


def test_it_runs_a_job_to_the_contact_sheet_and_leaves_no_process(tmp_path: Path) -> None:
    done = as_process(tmp_path)("demo")

    assert done.code == 0, done.stderr
    token = (tmp_path / "var" / "client_token").read_text()
    assert f'$ TOKEN="{token}"' in done.stdout
    assert (
        len(re.findall(r'^\$ curl -H "X-Client-Token: \$TOKEN" http://localhost:\d+/api/v1/', done.stdout, re.M)) == 3
    )
    assert '"status": "finished"' in done.stdout
    assert re.search(r"its page: http://localhost:\d+/login/\S+\?next=/jobs/g0-", done.stdout)
    assert "digraph" in done.stdout
    assert re.search(r"job_finished +done", done.stdout)
    (sheet,) = re.findall(r"look at it: (.*)", done.stdout)
    with Image.open(tmp_path / sheet) as picture:
        assert picture.size == (1024, 1112)
    assert processes_in(tmp_path) == set()


@pytest.mark.faults
def test_it_keeps_everything_running_until_it_is_interrupted(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    demo = Process([*AVTOMATIKA, "demo", "--keep"], tmp_path, {}, log=log)
    found = wait_until(lambda: re.search(r"the page of the job: (\S+)", log.read_text()), 90, log.read_text)

    page = requests.get(found[1], timeout=10)
    code = demo.end(signal.SIGINT, within_seconds=60)

    assert (page.status_code, "photo" in page.text) == (200, True)
    assert code == 0
    assert processes_in(tmp_path) == set()
