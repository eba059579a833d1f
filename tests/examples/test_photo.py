"""The skills of the photo example, on real pictures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from avtomatika.errors import InvalidInputError
from avtomatika.loading import load_blueprints, load_object

from ..support.examples import EXAMPLES

EXAMPLE = EXAMPLES / "photo"
LAKE = EXAMPLE / "lake.jpg"


def skill(name: str) -> Any:
    return load_object(f"{EXAMPLE / 'worker.py'}:{name}")


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("os.environ", {"PHOTO_FOLDER": "photos"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_blueprint_compiles_and_its_tasks_are_what_the_worker_can_do() -> None:
    (blueprint,) = load_blueprints(str(EXAMPLE / "blueprints"))

    assert set(blueprint.plan.task_types) == set(skill("worker").skills)


def test_probe_tells_what_the_photo_is() -> None:
    facts = skill("probe")({"path": str(LAKE)})

    assert (facts["width"], facts["height"], facts["format"]) == (1200, 800, "JPEG")
    assert facts["orientation"] == "landscape"
    assert facts["exif"]["camera"] == "Paintbox 1"
    assert len(facts["colours"]) == 5


def test_probe_sees_a_photo_as_the_camera_was_held(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (300, 200)).save(folder / "turned.jpg", exif=exif)

    facts = skill("probe")({"path": str(folder / "turned.jpg")})

    assert (facts["width"], facts["height"], facts["orientation"]) == (200, 300, "portrait")


@pytest.mark.parametrize("name", ["missing.jpg", "text.jpg", "folder.jpg", "half.jpg"])
def test_what_is_no_picture_is_invalid_input(name: str, folder: Path) -> None:
    (folder / "text.jpg").write_text("no picture")
    (folder / "folder.jpg").mkdir()
    (folder / "half.jpg").write_bytes(LAKE.read_bytes()[:20_000])

    with pytest.raises(InvalidInputError, match=name):
        skill("probe")({"path": str(folder / name)})


def test_resize_makes_only_what_is_smaller_than_the_photo() -> None:
    made = asyncio.run(skill("resize")({"path": str(LAKE), "sizes": [4000, 600, 120]}, "job"))

    assert [size_of(path) for path in made["pictures"]] == [(600, 400), (120, 80)]


@pytest.mark.parametrize(("layout", "size"), [("below", (664, 632)), ("beside", (800, 536))])
def test_a_contact_sheet_holds_all_pictures(layout: str, size: tuple[int, int]) -> None:
    made = asyncio.run(skill("resize")({"path": str(LAKE), "sizes": [600, 120]}, "job"))

    sheet = skill("contact_sheet")(
        {"pictures": made["pictures"], "layout": layout, "caption": "a lake", "colours": ["#112233"]}, "job"
    )

    assert size_of(sheet["contact_sheet"]) == size
