"""Which texts of a result are uploaded as files, and which are refused."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from avtomatika.errors import InvalidInputError, PermanentError, WorkerFaultError
from avtomatika.files.config import S3Config
from avtomatika.files.outputs import PathKind, classified_path
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support.object_storage import ObjectStorage
from .conftest import task

MakeFiles = Callable[..., TaskFiles]
LONG_AGO = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/p/tasks/own/out/a", PathKind.OWN_TASK),
        ("/p/tasks/own", PathKind.OWN_TASK),
        ("/p//tasks/./own/a", PathKind.OWN_TASK),
        ("/p/tasks/other/a", PathKind.OTHER_TASK),
        ("/p/tasks/own-too/a", PathKind.OTHER_TASK),
        ("/p/tasks", PathKind.NO_TASK),
        ("/p/a", PathKind.NO_TASK),
        ("/p/", PathKind.NO_TASK),
        ("/p", PathKind.OUTSIDE),
        ("/pp/a", PathKind.OUTSIDE),
        ("/p/tasks/own/../other/a", PathKind.OUTSIDE),
        ("/etc/passwd", PathKind.OUTSIDE),
        ("out.mp4", PathKind.NOT_A_PATH),
        ("", PathKind.NOT_A_PATH),
        ("/p/a\0b", PathKind.NOT_A_PATH),
        ("/" + "x" * 5000, PathKind.NOT_A_PATH),
    ],
)
def test_paths_are_classified(text: str, place: PathKind) -> None:
    assert classified_path(text, root="/p", task_folder="own")[0] is place


def test_paths_become_uris_wherever_they_stand(make_files: MakeFiles, cloud: ObjectStorage, results: str) -> None:
    files = make_files()
    one, two = Files(files).path("one.txt"), Files(files).path("deep/two.txt")
    one.write_text("one")
    two.write_text("two")

    data = files.upload_outputs(
        {"a": [str(one), {"b": str(two)}], "told": f"{one}\nis written", "text": "one.txt", "n": 1}
    )

    assert data["a"][0].startswith(f"s3://{results}/g0-1/g0-1.0.0/1-")
    assert data["a"][0].endswith("/one.txt")
    assert cloud.read(data["a"][1]["b"]) == b"two"
    assert (data["told"], data["text"], data["n"]) == (f"{one}\nis written", "one.txt", 1)


@pytest.mark.parametrize("name", ["tasks/{own}/out/one.text", "tasks/{own}", "one.text", "tasks/other/one.txt"])
def test_a_file_that_was_not_written_is_named(make_files: MakeFiles, payload: Path, name: str) -> None:
    files = make_files()
    Files(files).path("one.txt").write_text("one")
    path = str(payload / name.format(own=files.folder.path.name)) + ("-1" if name == "tasks/{own}" else "")

    with pytest.raises(PermanentError, match=f"the result names the file '{path}', which does not exist"):
        files.upload_outputs({"sheet": path})


def test_a_path_that_the_params_named_may_be_returned(make_files: MakeFiles, payload: Path) -> None:
    path = str(payload / "wished.txt")
    files = make_files(wish=path)

    assert files.upload_outputs({"wish": path}) == {"wish": path}


def test_files_of_one_name_have_keys_of_their_own(make_files: MakeFiles, cloud: ObjectStorage) -> None:
    files = make_files()
    paths = [Files(files).path(name) for name in ("a/x.txt", "b/x.txt", "c/X.txt")]
    for path in paths:
        path.write_text(str(path))

    uris = files.upload_outputs([str(path) for path in paths])

    assert [cloud.read(uri).decode() for uri in uris] == [str(path) for path in paths]


def test_an_input_that_was_changed_is_sent(make_files: MakeFiles, cloud: ObjectStorage, inputs: str) -> None:
    files = make_files(text=cloud.put(inputs, "a.txt", "before"))
    path = files.download_inputs().params["text"]
    Path(path).write_text("after!")

    uri = files.upload_outputs({"text": path})["text"]

    assert cloud.read(uri) == b"after!"
    assert cloud.read(f"s3://{inputs}/a.txt") == b"before"


def test_an_unchanged_folder_and_its_files_keep_their_uris(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str
) -> None:
    uri = cloud.put(inputs, "f/a.txt", "a")
    cloud.put(inputs, "f/b.txt", "b")
    files = make_files(folder=f"s3://{inputs}/f/")
    folder = files.download_inputs().params["folder"]

    data = files.upload_outputs([folder, f"{folder}/", f"{folder}/a.txt"])

    assert data == [f"s3://{inputs}/f/", f"s3://{inputs}/f/", uri]


def test_a_folder_with_one_file_more_is_sent(
    make_files: MakeFiles, cloud: ObjectStorage, inputs: str, results: str
) -> None:
    cloud.put(inputs, "f/a.txt", "a")
    files = make_files(folder=f"s3://{inputs}/f/")
    folder = files.download_inputs().params["folder"]
    Path(folder, "new.txt").write_text("new")

    [uri] = files.upload_outputs([folder])

    assert uri.startswith(f"s3://{results}/")
    assert cloud.read(f"{uri}a.txt") == b"a"
    assert cloud.read(f"{uri}new.txt") == b"new"


# ---------------------------------------------------------------- links and the like


def _link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def _link_through_a_folder(path: Path, secret: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to(secret.parent)


def _hard_link(path: Path, secret: Path) -> None:
    path.hardlink_to(secret)


def _fifo(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, secret: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket must be short
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)


TRICKS = {
    "is a link": _link,
    "is a link: only": _link_through_a_folder,
    "is a hard link": _hard_link,
    "is a FIFO": _fifo,
    "is a socket": _socket,
}


@pytest.mark.parametrize("words", TRICKS)
@pytest.mark.parametrize("is_own", [True, False])
def test_only_regular_files_and_folders_are_uploaded(
    make_files: MakeFiles, cloud: ObjectStorage, results: str, tmp_path: Path, payload: Path, words: str, is_own: bool
) -> None:
    secret = tmp_path / "outside" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    files = make_files()
    path = Files(files).path("deep/secret") if is_own else payload / "deep" / "secret"
    path.parent.mkdir(exist_ok=True)
    TRICKS[words](path, secret)

    with pytest.raises(PermanentError, match=words):
        files.upload_outputs({"file": str(path)})

    assert cloud.keys(results) == []


@pytest.mark.parametrize("words", [words for words in TRICKS if words != "is a link: only"])
def test_a_folder_with_such_a_thing_in_it_is_refused(make_files: MakeFiles, tmp_path: Path, words: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    files = make_files()
    path = Files(files).path("folder/deep/secret")
    TRICKS[words](path, secret)

    with pytest.raises(PermanentError, match=words):
        files.upload_outputs({"folder": str(path.parent.parent)})


# ---------------------------------------------------------------- elsewhere


def test_a_new_file_elsewhere_in_the_payload_folder_is_uploaded_and_kept(
    make_files: MakeFiles, cloud: ObjectStorage, payload: Path
) -> None:
    files = make_files()
    (payload / "out").mkdir(parents=True)
    path = payload / "out" / "film.mp4"
    path.write_bytes(b"film")

    uri = files.upload_outputs(str(path))

    assert cloud.read(uri) == b"film"
    assert path.exists()


def test_old_files_and_folders_elsewhere_are_kept_as_paths_with_a_warning(
    make_files: MakeFiles, payload: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_files()
    path = payload / "old.mp4"
    path.write_bytes(b"film")
    os.utime(path, (LONG_AGO, LONG_AGO))

    with caplog.at_level(logging.WARNING):
        data = files.upload_outputs([str(path), str(payload)])

    assert data == [str(path), str(payload)]
    assert "old.mp4' was not written by this task" in caplog.text


def test_a_file_outside_stays_as_it_is_with_a_warning(
    make_files: MakeFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outside.txt"
    path.write_text("x")

    with caplog.at_level(logging.WARNING):
        assert make_files().upload_outputs(str(path)) == str(path)

    assert "is outside of the payload folder" in caplog.text


def test_a_file_of_another_task_is_refused(make_files: MakeFiles) -> None:
    other = Files(make_files(1)).path("a.txt")
    other.write_text("a")

    with pytest.raises(PermanentError, match="is in the folder of another task"):
        make_files(2).upload_outputs({"file": str(other)})


# ---------------------------------------------------------------- settings


def test_without_s3_params_that_need_it_are_refused_with_the_variable(make_storage: Callable[..., TaskStorage]) -> None:
    files = TaskFiles(make_storage(None), task({"film": "s3://films/a.mp4"}))

    with pytest.raises(WorkerFaultError, match="S3_BUCKET is not set"):
        files.download_inputs()
    files.close()


def test_without_s3_a_file_of_the_task_cannot_be_a_result(
    make_storage: Callable[..., TaskStorage], payload: Path
) -> None:
    files = TaskFiles(make_storage(None), task({}))
    path = Files(files).path("a.txt")
    path.write_text("a")
    elsewhere = payload / "b.txt"
    elsewhere.write_text("b")

    with pytest.raises(PermanentError, match="S3_BUCKET is not set"):
        files.upload_outputs(str(path))
    assert files.upload_outputs(str(elsewhere)) == str(elsewhere)
    files.close()


def test_only_allowed_buckets_may_be_named(
    make_storage: Callable[..., TaskStorage], config: S3Config, cloud: ObjectStorage, inputs: str
) -> None:
    cloud.put(inputs, "a", "a")
    limited = S3Config(
        endpoint_url=cloud.url,
        access_key="k",
        secret_key="s",
        bucket=config.bucket,
        region="us-east-1",
        allowed_buckets=frozenset({"films"}),
    )
    files = TaskFiles(make_storage(limited), task({"a": f"s3://{inputs}/a"}))

    with pytest.raises(InvalidInputError, match="is not among S3_ALLOWED_BUCKETS"):
        files.download_inputs()
    files.close()


def test_a_task_has_a_limit_in_both_directions(
    make_storage: Callable[..., TaskStorage], config: S3Config, cloud: ObjectStorage, inputs: str
) -> None:
    uri = cloud.put(inputs, "a", "12345")
    storage = make_storage(config, max_task_bytes=8)
    files = TaskFiles(storage, task({"a": uri, "b": cloud.put(inputs, "b", "1234")}))
    sending = TaskFiles(storage, task({}))
    path = Files(sending).path("a")
    path.write_text("123456789")

    with pytest.raises(InvalidInputError, match=r"9 bytes, but may have 8 \(WORKER_MAX_TASK_BYTES\)"):
        files.download_inputs()
    with pytest.raises(PermanentError, match="9 bytes, but may have 8"):
        sending.upload_outputs(str(path))
    files.close()
    sending.close()
