"""Down and up again, by size and by name, against the real server."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from avtomatika.errors import InvalidInputError
from avtomatika.files.inputs import sources_in
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles

from ..support.object_storage import ObjectStorage
from .conftest import left_in

MakeFiles = Callable[..., TaskFiles]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7])
def test_a_file_is_downloaded_and_uploaded_unchanged(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, size: int
) -> None:
    body = os.urandom(size)
    files = make_files(film=cloud.put(inputs, "film.mp4", body))

    path = Path(files.download_inputs().params["film"])
    copy = Files(files).path("copy.mp4")
    copy.write_bytes(path.read_bytes())
    data = files.upload_outputs({"film": str(copy)})

    assert path.name == "film.mp4"
    assert path.read_bytes() == body
    assert cloud.read(data["film"]) == body


def test_uploads_carry_a_checksum(make_files: MakeFiles, cloud: ObjectStorage, results: str) -> None:
    files = make_files()
    path = Files(files).path("a.txt")
    path.write_text("hello")

    uri = files.upload_outputs([str(path)])[0]

    head = cloud.client.head_object(Bucket=results, Key=uri.removeprefix(f"s3://{results}/"))
    assert head["Metadata"] == {"sha256": sha256(b"hello").hexdigest()}


@pytest.mark.parametrize(
    "key", ["with spaces.txt", "фильм – 映画.txt", "a+b&c=d?e#f%20g.txt", "deep/er/name.txt", "'<>"]
)
def test_any_key_can_be_fetched_and_named_again(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, key: str
) -> None:
    uri = cloud.put(inputs, key, "hello")
    files = make_files(file=uri)

    path = files.download_inputs().params["file"]

    assert Path(path).read_text() == "hello"
    assert files.upload_outputs({"same": path}) == {"same": uri}


def test_params_are_searched_through_and_each_object_fetched_once(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str
) -> None:
    one, two = cloud.put(inputs, "x/same.txt", "one"), cloud.put(inputs, "y/same.txt", "two")
    files = make_files(list=[one, {"deep": [[two]]}], again=one, number=3, text=f"see {one}")

    params = files.download_inputs().params

    assert Path(params["list"][0]).read_text() == "one"
    assert Path(params["list"][1]["deep"][0][0]).read_text() == "two"
    assert params["again"] == params["list"][0]
    assert (params["number"], params["text"]) == (3, f"see {one}")


def test_keys_of_objects_are_no_locations() -> None:
    assert sources_in({"s3://films/a": 1}) == ({}, [])


def test_a_folder_is_downloaded_with_all_objects_below_it(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str
) -> None:
    for key in ("scenes/1.txt", "scenes/night/2.txt", "scenes/night/", "scenes/Night/3.txt", "other.txt"):
        cloud.put(inputs, key, key)
    files = make_files(scenes=f"s3://{inputs}/scenes/")

    folder = Path(files.download_inputs().params["scenes"])

    assert folder.name == "scenes"
    texts = sorted(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert texts == ["scenes/1.txt", "scenes/Night/3.txt", "scenes/night/2.txt"]


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.faults)])
def test_a_folder_of_many_objects_is_downloaded_and_uploaded(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, results: str, count: int
) -> None:
    for number in range(count):
        cloud.put(inputs, f"many/{number:04}.txt", str(number))
    files = make_files(many=f"s3://{inputs}/many/")

    folder = Path(files.download_inputs().params["many"])
    came = len(list(folder.iterdir()))
    (folder / "0007.txt").write_text("another seven")
    uri = files.upload_outputs({"many": str(folder)})["many"]

    assert came == count
    assert uri.startswith(f"s3://{results}/g0-1/g0-1.0.0/1-")
    assert uri.endswith("/many/")
    assert len(cloud.keys(results)) == count
    assert cloud.read(f"{uri}0007.txt") == b"another seven"


def test_an_empty_folder_is_downloaded_as_one(make_files: MakeFiles) -> None:
    first = make_files(1)
    Files(first).path("empty/x").parent.joinpath("x").unlink(missing_ok=True)
    uri = first.upload_outputs([str(first.folder.outputs / "empty")])[0]

    second = make_files(2, folder=uri)
    folder = Path(second.download_inputs().params["folder"])

    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_a_folder_without_objects_is_invalid(make_files: MakeFiles, inputs: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"s3://{inputs}/nothing/: no key starts with this"):
        make_files(folder=f"s3://{inputs}/nothing/").download_inputs()


def test_hostile_keys_stay_in_the_folder(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, payload: Path
) -> None:
    keys = ["h/../../etc/passwd", "h//etc/passwd", "h/" + "x" * 1000, "h/Case", "h/case", "h/a\\..\\b", "h/a\0b"]
    for key in keys:
        cloud.put(inputs, key, key)
    files = make_files(folder=f"s3://{inputs}/h/", lone=f"s3://{inputs}/h/../../etc/passwd")

    params = files.download_inputs().params

    folder = Path(params["folder"]).resolve()
    found = [path.resolve() for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in found) == sorted(keys)
    assert all(path.is_relative_to(folder) for path in found)
    assert Path(params["lone"]).resolve().is_relative_to(payload)


def test_a_task_leaves_nothing_behind(make_files: MakeFiles, cloud: ObjectStorage, inputs: str, payload: Path) -> None:
    files = make_files(film=cloud.put(inputs, "film.mp4", b"x"))
    folder = Path(files.download_inputs().params["film"]).parent
    (folder / "closed").mkdir()
    (folder / "closed" / "file").touch()
    (folder / "closed").chmod(0)

    files.close()

    assert left_in(payload) == []
