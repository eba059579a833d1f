"""A wheel and a checkout install ``cli/`` and ``web/`` inside the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests

from .support.cli import clean_environment
from .support.processes import Process

ROOT = Path(__file__).resolve().parent.parent
#: Sources of a wheel.
SOURCES = ("avtomatika", "cli", "web", "setup.cfg", "pyproject.toml", "LICENSE", "README.md")
#: Prints the location of each package.
LOOK = """
import avtomatika, avtomatika.cli, avtomatika.web
print(avtomatika.__file__, avtomatika.cli.__file__, avtomatika.web.__file__)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout: building leaves things behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """A wheel built with installed packages, without an index."""
    run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", "dist", "."],
        checkout,
    )
    (built,) = (checkout / "dist").glob("avtomatika-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is unpacked in, as an installation does it."""
    folder = tmp_path_factory.mktemp("site")
    ZipFile(wheel).extractall(folder)
    return folder


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def packages_in_folders() -> set[str]:
    found = set()
    for top in ("avtomatika", "cli", "web"):
        for file in (ROOT / top).rglob("__init__.py"):
            parts = file.parent.relative_to(ROOT).parts
            found.add(".".join(parts if top == "avtomatika" else ("avtomatika", *parts)))
    return found


def test_the_packages_of_setup_cfg_are_the_folders_that_there_are() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")

    assert set(config["options"]["packages"].split()) == packages_in_folders()


def test_a_wheel_carries_cli_and_web_inside_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"avtomatika"}
    assert {"avtomatika/cli/main.py", "avtomatika/web/wsgi.py", "avtomatika/py.typed"} <= set(names)


def test_a_wheel_carries_every_file_that_is_no_python(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    data = [
        file.relative_to(ROOT)
        for top in ("avtomatika", "cli", "web")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and "cache" not in str(file)
    ]

    missing = [str(file) for file in data if not {str(file), f"avtomatika/{file}"} & names]

    assert any(file.suffix == ".lua" for file in data)
    assert missing == []


def test_everything_is_found_where_the_wheel_put_it(site: Path, tmp_path: Path) -> None:
    where = run([sys.executable, "-c", LOOK], tmp_path, PYTHONPATH=str(site)).split()

    assert [Path(file).parent.relative_to(site) for file in where] == [
        Path("avtomatika"),
        Path("avtomatika/cli"),
        Path("avtomatika/web"),
    ]


def test_everything_is_found_in_a_checkout_that_is_not_installed(checkout: Path, tmp_path: Path) -> None:
    where = run([sys.executable, "-c", LOOK], tmp_path, PYTHONPATH=str(checkout)).split()

    assert [Path(file).parent.relative_to(checkout) for file in where] == [Path("avtomatika"), Path("cli"), Path("web")]


@pytest.mark.parametrize("place", ["site", "checkout"])
def test_the_command_runs_from_both(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(place)

    said = run([sys.executable, "-m", "avtomatika.cli", "blueprints", "--help"], tmp_path, PYTHONPATH=str(folder))

    assert "routes" in said


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The programs of a fresh environment with the wheel; dependencies are those of this one, without an index."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    run([str(programs / "pip"), "install", "--no-index", "--no-deps", str(wheel)], tmp_path)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # not its .pth files: not this checkout
    return programs


@pytest.fixture
def shop(installed: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A new project in an empty folder, with everything running, and the URL of its pages with a link to log in."""
    (tmp_path / "empty").mkdir()
    run([str(installed / "avtomatika"), "new", "shop"], tmp_path / "empty", **_ALONE)
    folder = tmp_path / "empty" / "shop"
    environment = clean_environment() | _ALONE
    up = Process([installed / "avtomatika", "up"], folder, environment, log=folder / "up.log")
    try:
        up.wait_until(lambda: "log in once:" in up.log or not up.is_running, 90)
        assert up.is_running, up.log
        (link,) = re.findall(r"log in once: +(\S+)", up.log)
        yield folder, link
        assert up.end() == 0
    finally:
        up.kill()


#: Only installed packages are found.
_ALONE = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}


@pytest.mark.faults
def test_an_installed_wheel_runs_a_new_project(shop: tuple[Path, str], installed: Path) -> None:
    folder, link = shop
    where = run([str(installed / "python"), "-c", LOOK], folder, **_ALONE).split()
    command = [str(installed / "avtomatika"), "jobs", "submit", "shop", "name=Ada", "--wait"]

    said = run(command, folder, **_ALONE)
    shown = run([str(installed / "avtomatika"), "top"], folder, **_ALONE)
    tested = run([str(installed / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"], folder, **_ALONE)
    with requests.Session() as browser:
        page = browser.get(link, timeout=30)
        assets = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        found = [browser.get(requests.compat.urljoin(link, asset), timeout=30).status_code for asset in assets]

    assert all("/venv/" in file for file in where)
    assert "job_finished" in said
    assert "shop-worker-1" in shown
    assert "3 passed" in tested
    assert (page.status_code, {*found}) == (200, {200})


def test_the_requirements_of_a_new_project_are_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The README of a project builds it into ``wheels/``."""
    run([sys.executable, "-m", "avtomatika.cli", "new", "shop"], tmp_path, PYTHONPATH=str(ROOT))
    (tmp_path / "shop" / "wheels").mkdir()
    shutil.copy(wheel, tmp_path / "shop" / "wheels")
    install = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--ignore-installed"]

    said = run([*install, "-r", "requirements.txt"], tmp_path / "shop")

    assert "Would install avtomatika-" in said
