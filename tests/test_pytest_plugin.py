"""The fixtures that pytest finds by itself, in a project of somebody's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BLUEPRINTS = """
from avtomatika import Blueprint

parent = Blueprint("parent")

@parent.handler(is_start=True)
def start(actions):
    actions.run_blueprint("child", {}, transitions={"success": "end"})

@parent.handler(is_end=True)
def end(word): return word

child = Blueprint("child")

@child.handler(is_start=True)
def ask(actions):
    actions.dispatch_task("say", {}, transitions={"success": "told"})

@child.handler(is_end=True)
def told(word): return {"word": word}
"""
WORKER = """
from avtomatika import Worker
from words import WORD

worker = Worker()

@worker.skill()
def say(): return {"word": WORD}
"""
TESTS = """
import pytest
from avtomatika.errors import NotFoundError

def test_worker_and_other_blueprints_are_the_projects(run_blueprint):
    assert run_blueprint("parent").result == "hello"

def test_a_skill_can_be_another_one_here(run_blueprint):
    assert run_blueprint("parent", skills={"say": {"word": "adieu"}}).result == "adieu"

def test_a_name_that_nobody_has_is_refused(run_blueprint):
    with pytest.raises(NotFoundError, match="did you mean 'parent'"):
        run_blueprint("parnet")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "blueprints").mkdir()
    (tmp_path / "blueprints" / "both.py").write_text(BLUEPRINTS)
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "words.py").write_text('WORD = "hello"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return tmp_path


def pytest_in(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("where", [".", "tests"])
def test_a_project_tests_its_blueprints_by_name(project: Path, where: str) -> None:
    assert "3 passed" in pytest_in(project / where, "--rootdir", str(project), "-c", str(project / "pytest.ini"))


def test_blueprints_and_worker_may_lie_elsewhere(project: Path) -> None:
    (project / "blueprints").rename(project / "flows")
    (project / "worker.py").rename(project / "hands.py")
    (project / "pytest.ini").write_text(
        "[pytest]\navtomatika_blueprints = flows/both.py\navtomatika_worker = hands:worker\n"
    )

    assert "3 passed" in pytest_in(project)


def test_a_run_that_asks_for_nothing_of_ours_loads_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "test_look.py").write_text(
        "import sys\ndef test_look(): assert not {'avtomatika.testing', 'kombu', 'marshmallow'} & set(sys.modules)\n"
    )

    assert "1 passed" in pytest_in(tmp_path)
