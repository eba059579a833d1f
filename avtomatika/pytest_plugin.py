"""Fixtures for tests of a project; pytest loads them where avtomatika is installed.

Imports are deferred until a test uses a fixture: every pytest run of the environment loads this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from avtomatika.core.blueprint.blueprint import Blueprint
    from avtomatika.core.job import Json
    from avtomatika.worker.worker import Worker

    from .testing import RunResult


def pytest_addoption(parser: pytest.Parser) -> None:
    blueprints = "modules, files or folders with blueprints, comma-separated, from the root folder"
    worker = "module:worker or file.py:worker, from the root folder"
    parser.addini("avtomatika_blueprints", blueprints, default="blueprints/")
    parser.addini("avtomatika_worker", worker, default="worker.py:worker")


@pytest.fixture(scope="session")
def avtomatika_blueprints(pytestconfig: pytest.Config) -> Mapping[str, Blueprint]:
    """All blueprints of the project by name, from ``avtomatika_blueprints`` in the ini file."""
    from .loading import load_blueprints

    places = str(pytestconfig.getini("avtomatika_blueprints")).split(",")
    found = load_blueprints(",".join(_place(place.strip(), pytestconfig) for place in places))
    return {blueprint.name: blueprint for blueprint in found}


@pytest.fixture(scope="session")
def avtomatika_worker(pytestconfig: pytest.Config) -> Worker | None:
    """The worker of the project, from ``avtomatika_worker`` in the ini file; None if its file does not exist."""
    from avtomatika.worker.run import load_worker

    place, colon, name = str(pytestconfig.getini("avtomatika_worker")).partition(":")
    if place.endswith(".py") and not (pytestconfig.rootpath / place).is_file():
        return None
    return load_worker(f"{_place(place, pytestconfig)}{colon}{name}")


@pytest.fixture
def run_blueprint(
    avtomatika_blueprints: Mapping[str, Blueprint], avtomatika_worker: Worker | None
) -> Callable[..., RunResult]:
    """Run a job in memory by the name of its blueprint: ``run_blueprint("order", {"item": "lamp"})``.

    Skills are those of the project's worker, overridden by ``skills={...}``; all blueprints of the project are
    available as child workflows. Other options as in :func:`avtomatika.testing.run`.
    """
    from .errors import NotFoundError
    from .testing import run

    def run_blueprint(
        name: str,
        initial_data: Mapping[str, Json] | None = None,
        *,
        skills: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunResult:
        if name not in avtomatika_blueprints:
            raise NotFoundError("blueprint", name, known=avtomatika_blueprints)
        own = {} if avtomatika_worker is None else avtomatika_worker.skills
        others = [each for each in avtomatika_blueprints.values() if each.name != name]
        given = {"skills": {**own, **(skills or {})}, "blueprints": others, **options}
        return run(avtomatika_blueprints[name], initial_data, **given)

    return run_blueprint


def _place(name: str, config: pytest.Config) -> str:
    """Return the path of a file or folder in the root folder, or the name of a module."""
    root = str(config.rootpath)
    if root not in sys.path:
        sys.path.insert(0, root)
    is_path = name.endswith((".py", "/")) or (Path(root) / name).is_dir()
    return str(Path(root) / name) if is_path else name
