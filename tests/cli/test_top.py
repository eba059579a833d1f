"""``avtomatika top``: one frame as plain text, live on a terminal, and without colours."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from avtomatika.store import Store

from ..support.cli import Run, clean_environment
from ..support.processes import AVTOMATIKA
from ..support.terminal import read_from, started_on_terminal
from ..support.waiting import wait_until


@pytest.fixture
def busy_url(redis_url: str, run: Run) -> Iterator[str]:
    """A server with three jobs whose skill no worker has."""
    for number in range(3):
        done = run("tasks", "send", "encode", f"n:={number}", REDIS_URL=redis_url)
        assert done.code == 0, done.stderr
    store = Store.connect(redis_url)
    store.overview.sample()
    yield redis_url
    store.close()


def test_one_frame_is_plain_text_of_80_columns(run: Run, busy_url: str) -> None:
    done = run("top", REDIS_URL=busy_url)

    lines = done.stdout.splitlines()
    (encode,) = [line.split() for line in lines if line.startswith("encode")]
    slow = [line for line in lines if line.startswith("g0-")]
    assert done.code == 0, done.stderr
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert encode[:5] == ["encode", "3", "0", "0", "0"]
    assert len(slow) == 3
    assert all(len(line.split()[0]) == 29 for line in slow), "ids are complete"
    assert any(line.startswith("fault    encode: No worker") for line in lines)


def test_the_slowest_job_is_the_first(run: Run, busy_url: str) -> None:
    oldest = run("jobs", "list", "--oldest-first", "--limit", "1", REDIS_URL=busy_url).stdout.splitlines()[-1]
    newest = run("jobs", "list", "--limit", "1", REDIS_URL=busy_url).stdout.splitlines()[-1]

    slow = [line.split()[0] for line in run("top", "--once", REDIS_URL=busy_url).stdout.splitlines() if "g0-" in line]

    assert (slow[0], slow[-1]) == (oldest.split()[0], newest.split()[0])
    assert slow[0] != slow[-1]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_it_updates_until_interrupted(project: Path, busy_url: str, no_color: str) -> None:
    environment = clean_environment() | {"REDIS_URL": busy_url, "NO_COLOR": no_color}
    leader, process = started_on_terminal((*AVTOMATIKA, "top", "--interval", "0.5"), project, environment)
    shown = bytearray()

    def has_two_frames() -> bool:
        shown.extend(read_from(leader))
        return shown.count(b"slowest job") >= 2

    try:
        wait_until(has_two_frames, 60, lambda: shown.decode(errors="replace"))
        process.send_signal(signal.SIGINT)
        while chunk := read_from(leader):
            shown += chunk
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert (b"\x1b[1;31mfault" in shown) is not bool(no_color)
