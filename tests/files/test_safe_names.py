from __future__ import annotations

import os
from unicodedata import normalize

import pytest
from hypothesis import given, strategies as st

from avtomatika.files.location import Location
from avtomatika.files.safe_names import UniqueNames, safe_part

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a\0b",
    "a\\..\\b",
    "C:/x",
    "x" * 1000,
    "é" * 500,
    "a\nb\x1b[31m",
    "\u202egpj.exe",
    "/".join(["a"] * 500),
]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_name_leaves_its_folder(key: str) -> None:
    name = UniqueNames().name_for(key)

    assert not name.startswith("/")
    assert os.path.normpath(name) == name
    assert all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in name.split("/"))
    assert not set(name) & {"\0", "\\", "\n", "\u202e"}


def test_usual_names_stay_as_they_are() -> None:
    names = UniqueNames()

    assert [names.name_for(key) for key in ("a/b c.mp4", "фильм.mp4", "-x", ".hidden", "a/日本語.txt")] == [
        "a/b c.mp4",
        "фильм.mp4",
        "-x",
        ".hidden",
        "a/日本語.txt",
    ]


def test_keys_that_differ_in_case_only_have_names_that_differ_in_more() -> None:
    names = UniqueNames()

    given_out = [names.name_for(key) for key in ("Film.mp4", "film.mp4", "FILM.MP4")]

    assert given_out[0] == "Film.mp4"
    assert len({name.casefold() for name in given_out}) == 3
    assert all(name.lower().endswith(".mp4") for name in given_out)


def test_a_key_that_is_a_file_and_a_folder_has_two_names() -> None:
    names = UniqueNames()

    file, below = names.name_for("a"), names.name_for("a/b")

    assert file == "a"
    assert not below.startswith("a/")


def test_a_long_name_keeps_its_extension() -> None:
    assert safe_part("x" * 1000 + ".jpeg").endswith(".jpeg")


@given(st.lists(st.text(st.sampled_from("aAéÉ/.\\\0~:_"), max_size=6), unique=True, max_size=30))
def test_two_keys_never_share_a_name(keys: list[str]) -> None:
    names = UniqueNames()

    given_out = [normalize("NFC", names.name_for(key)).casefold() for key in keys]

    assert len(set(given_out)) == len(keys)
    folders = {name[:at] for name in given_out for at, character in enumerate(name) if character == "/"}
    assert not folders & set(given_out)


@given(st.text(max_size=300))
def test_any_text_makes_a_safe_part(text: str) -> None:
    part = safe_part(text)

    assert 0 < len(part.encode()) <= 200
    assert part not in (".", "..")
    assert not set(part) & {"/", "\\", "\0"}


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("s3://films/a.mp4", True),
        ("s3://films/a b/ü.mp4", True),
        ("s3://films/scenes/", True),
        ("s3://films/", True),
        ("s3://films", False),
        ("S3://films/a", False),
        ("s3:///a", False),
        (" s3://films/a", False),
        ("see s3://films/a", False),
        ("s3://no bucket/a", False),
        ("https://films/a", False),
    ],
)
def test_a_text_is_a_location_only_as_a_whole(text: str, is_one: bool) -> None:
    location = Location.parse(text)

    assert (location is not None) is is_one
    assert location is None or str(location) == text
