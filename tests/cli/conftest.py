"""A project of a user, and the command line in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..support.cli import Run, Up, as_process, in_process, write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a blueprint and a worker, where nothing runs."""
    return write_project(tmp_path / "project")


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command in the project: ``run("jobs", "list", CLIENT_TOKEN="t")``."""
    return in_process(project)


@pytest.fixture
def run_process(project: Path) -> Run:
    """The same, as a process of its own."""
    return as_process(project)


@pytest.fixture
def up(project: Path) -> Iterator[Callable[..., Up]]:
    """Start ``avtomatika up`` in the project: ``up("--port", "8090")``."""
    started: list[Up] = []

    def start(*options: str, **environment: str) -> Up:
        started.append(Up(project, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        each.kill()
