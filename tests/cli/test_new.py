"""``avtomatika new``: the created project runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from avtomatika.tokens import Workers

from ..support.cli import Run, Up, as_process, clean_environment, in_process

FILES = {
    "blueprints/my_shop.py",
    "worker.py",
    "tests/test_my_shop.py",
    "pytest.ini",
    "Procfile",
    "workers.toml",
    ".env",
    ".env.example",
    ".gitignore",
    "README.md",
    "requirements.txt",
    "Dockerfile",
    ".dockerignore",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    done = in_process(folder)("new", "my-shop")
    assert done.code == 0, done.stderr
    return folder / "my-shop"


def test_a_project_has_all_files(shop: Path) -> None:
    assert {str(path.relative_to(shop)) for path in shop.rglob("*") if path.is_file()} == FILES
    assert "{{" not in "".join(path.read_text() for path in shop.rglob("*") if path.is_file())


def test_its_test_passes(shop: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

    done = subprocess.run(command, cwd=shop, env=clean_environment(), capture_output=True, text=True, timeout=60)

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_its_blueprint_is_valid(shop: Path) -> None:
    done = as_process(shop)("blueprints", "check")

    assert done.code == 0, done.stderr


def test_its_secrets_are_private_valid_and_ignored_by_git(shop: Path) -> None:
    token = re.findall(r"AVTOMATIKA_WORKER_TOKEN=(.+)", (shop / ".env").read_text())[0]
    workers = Workers(token=None, path=shop / "workers.toml")

    assert workers.identify("my-shop-worker-1", token).name == "my-shop-worker-1"
    assert [stat.S_IMODE((shop / name).stat().st_mode) for name in ("workers.toml", ".env")] == [0o600, 0o600]
    assert {"/workers.toml", "/.env"} <= set((shop / ".gitignore").read_text().splitlines())
    assert token not in (shop / ".env.example").read_text()


def test_its_image_is_checked_without_its_secrets(shop: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(*(shop / ".dockerignore").read_text().split())
    image = shutil.copytree(shop, tmp_path / "app", ignore=ignored)
    (checked,) = re.findall(r"^RUN avtomatika (check .*?) &&", (image / "Dockerfile").read_text(), re.MULTILINE)

    done = as_process(image)(*shlex.split(checked))

    assert done.code == 0, done.stderr
    assert not (image / ".env").exists()
    assert not (image / "workers.toml").exists()


def test_it_runs_unchanged(shop: Path) -> None:
    up = Up(shop)
    try:
        up.wait_until_ready()
        done = as_process(shop)("jobs", "submit", "my-shop", "name=Ada", "--wait")
        checked = as_process(shop)("doctor", "--json")
    finally:
        up.kill()

    assert done.code == 0, done.stderr + up.log
    assert "job_finished" in done.stdout
    assert {each["state"] for each in json.loads(checked.stdout)} == {"ok"}


@pytest.mark.parametrize("name", ["_shop", "my shop", "../shop", ""])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    done = in_process(tmp_path)("new", name)

    assert done.code == 2
    assert "use letters, digits" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_changed(run: Run, project: Path) -> None:
    (project / "shop").mkdir()

    done = run("new", "shop")

    assert done.code == 1
    assert "shop already exists" in done.stderr
    assert list((project / "shop").iterdir()) == []


@pytest.mark.parametrize("name", ["1st", "class", "A-b"])
def test_a_name_that_is_not_a_python_identifier_works(tmp_path: Path, name: str) -> None:
    assert in_process(tmp_path)("new", name).code == 0

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path / name, env=clean_environment(), capture_output=True, text=True)

    assert "3 passed" in done.stdout, done.stdout + done.stderr
