"""The pages in a real browser: the content security policy allows all their resources."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from PIL import Image

from avtomatika.core.blueprint.action_types import AwaitApproval, GoTo
from avtomatika.core.job import Job

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Of the button that approves, where it is light.
GREEN = (26, 127, 75)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium")


def test_the_page_behind_a_link_is_shown_with_its_style(url: str, move: Callable[..., Job], tmp_path: Path) -> None:
    headers = {"X-Client-Token": "token-of-alice-in-tests"}
    job_id = requests.post(f"{url}/api/v1/jobs/video", json={}, headers=headers, timeout=5).json()["job_id"]
    move(GoTo("encode"), AwaitApproval("mail", "Publish this?", {"approved": "publish", "rejected": "failed"}))
    made = requests.post(f"{url}/api/v1/jobs/{job_id}/approval-link", json={}, headers=headers, timeout=5).json()

    said = _open(made["url"], tmp_path)

    with Image.open(tmp_path / "page.png") as picture:
        counts = {color: count for count, color in picture.convert("RGB").getcolors(2**24) or []}
    assert counts.get(GREEN, 0) > 1000
    assert "Content Security Policy" not in said


def _open(url: str, folder: Path) -> str:
    """Take a screenshot of the page; return the output of the browser."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={folder}"]
    picture = f"--screenshot={folder / 'page.png'}"
    command = [str(CHROMIUM), *options, "--window-size=800,800", picture, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
