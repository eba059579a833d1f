"""Loading: from names to the objects that users wrote, and errors that say where to look."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avtomatika.errors import BlueprintError, SettingsError
from avtomatika.loading import load_blueprints, load_object

ORDERS = "from avtomatika import Blueprint\norders = Blueprint(name='orders')\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of a user; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def names(spec: str) -> list[str]:
    return [blueprint.name for blueprint in load_blueprints(spec)]


def test_a_folder_gives_the_blueprints_of_its_files_in_order(folder: Path) -> None:
    write(folder, "blueprints/b.py", ORDERS)
    write(
        folder, "blueprints/a.py", "from avtomatika import Blueprint\nx = Blueprint(name='x')\ny = Blueprint(name='y')"
    )
    write(folder, "blueprints/_shared.py", "raise RuntimeError('not to be imported')")

    assert names("blueprints/") == ["x", "y", "orders"]


def test_modules_files_and_folders_may_stand_side_by_side(folder: Path) -> None:
    write(folder, "shop/orders.py", ORDERS)
    write(folder, "single.py", "from avtomatika import Blueprint\nbp = Blueprint(name='single')")
    write(folder, "more/bp.py", "from avtomatika import Blueprint\nbp = Blueprint(name='more')")

    assert names("shop.orders, single.py, more") == ["orders", "single", "more"]


def test_a_blueprint_that_two_modules_share_is_one(folder: Path) -> None:
    write(folder, "orders.py", ORDERS)
    write(folder, "again.py", "from orders import orders")

    assert names("orders,again") == ["orders"]


def test_two_blueprints_of_one_name_are_refused_with_both_files(folder: Path) -> None:
    write(folder, "blueprints/a.py", ORDERS)
    write(folder, "blueprints/b.py", ORDERS)

    with pytest.raises(BlueprintError, match=r"'orders': defined twice: in .*a\.py and in .*b\.py"):
        load_blueprints("blueprints")


def test_an_error_in_a_file_is_named_with_file_and_line(folder: Path) -> None:
    write(folder, "blueprints/a.py", "\n\n1 / 0\n")

    with pytest.raises(SettingsError, match=r"cannot import 'blueprints/a\.py': .*/a\.py:3: ZeroDivisionError"):
        load_blueprints("blueprints/")


def test_an_error_in_what_a_module_imports_is_named_where_it_is(folder: Path) -> None:
    write(folder, "outer.py", "import inner\n")
    write(folder, "inner.py", "import json\n\njson.loads('{')\n")

    with pytest.raises(SettingsError, match=r"cannot import 'outer': .*/inner\.py:3: JSONDecodeError"):
        load_blueprints("outer")


def test_a_missing_import_inside_a_module_is_told_from_a_missing_module(folder: Path) -> None:
    write(folder, "shop.py", "import nothing_of_this_name\n")

    with pytest.raises(SettingsError, match=r"shop\.py:1: ModuleNotFoundError"):
        load_blueprints("shop")
    with pytest.raises(SettingsError, match="no module 'shup'"):
        load_blueprints("shup")


def test_a_syntax_error_is_named_with_file_and_line(folder: Path) -> None:
    write(folder, "shop.py", "x = 1\ndef (:\n")

    with pytest.raises(SettingsError, match=r"shop\.py:2: SyntaxError"):
        load_blueprints("shop")


def test_what_is_not_there_is_named(folder: Path) -> None:
    write(folder, "empty.py", "")

    with pytest.raises(SettingsError, match="BLUEPRINTS='blueprints/': no folder 'blueprints/'"):
        load_blueprints("blueprints/")
    with pytest.raises(SettingsError, match=r"no file 'gone\.py'"):
        load_blueprints("gone.py")
    with pytest.raises(SettingsError, match=r"BLUEPRINTS='empty\.py': none of the modules has a Blueprint"):
        load_blueprints("empty.py")


def test_an_object_is_found_by_module_or_file_and_name(folder: Path) -> None:
    write(folder, "mine.py", "worker = 7")

    assert load_object("mine:worker") == 7
    assert load_object("mine.py:worker") == 7


def test_an_object_that_is_not_there_is_named(folder: Path) -> None:
    write(folder, "mine.py", "worker = 7")

    with pytest.raises(SettingsError, match="'mine': must be module:name"):
        load_object("mine")
    with pytest.raises(SettingsError, match=r"mine\.py has no 'walker'"):
        load_object("mine:walker")
