"""The cache downloads an object once, copies it for each task, and does not bypass access checks."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from avtomatika.core.placement.cached_files import digest_of
from avtomatika.errors import InvalidInputError, TransientError
from avtomatika.files.cache import Cache
from avtomatika.files.config import S3Config
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support import http_proxy as faults
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import left_in, task

KIB = 1024
ALWAYS = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fetched(proxy: HttpProxy) -> list[str]:
    """Paths of all GETs that reach the server by the proxy, listings not counted."""
    paths: list[str] = []
    proxy.before = lambda method, path: paths.append(path) if method == "GET" and "list-type" not in path else None
    return paths


@pytest.fixture
def make_cached(
    make_storage: Callable[..., TaskStorage], config: S3Config, proxy: HttpProxy, folder: Path
) -> Callable[..., Callable[..., TaskFiles]]:
    """Return a factory of task files for a worker with a cache of *limit_bytes*."""

    def make_cached(limit_bytes: int = 100 * 1024 * KIB) -> Callable[..., TaskFiles]:
        cache = Cache(folder, limit_bytes=limit_bytes)
        storage = make_storage(replace(config, endpoint_url=proxy.url), cache=cache)

        def make_files(number: int, client: str = "alice", **params: Any) -> TaskFiles:
            return TaskFiles(storage, task(params, number=number, client=client))

        return make_files

    return make_cached


@pytest.fixture
def make_files(make_cached: Callable[..., Any]) -> Callable[..., TaskFiles]:
    make_files: Callable[..., TaskFiles] = make_cached()
    return make_files


def content(files: TaskFiles) -> bytes:
    return Path(files.download_inputs().params["film"]).read_bytes()


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "." not in path.name]


@pytest.mark.parametrize("size", [100 * KIB, PART_BYTES + 1])
def test_concurrent_branches_download_an_input_once(
    make_files: Callable[..., TaskFiles],
    cloud: ObjectStorage,
    inputs: str,
    fetched: list[str],
    payload: Path,
    *,
    size: int,
) -> None:
    body = os.urandom(size)
    uri = cloud.put(inputs, "film.mp4", body)
    branches = [make_files(number, film=uri) for number in range(20)]

    with ThreadPoolExecutor(20) as threads:
        contents = list(threads.map(content, branches))
    for each in branches:
        each.close()

    assert set(contents) == {body}
    assert len(fetched) == -(-size // PART_BYTES)
    assert left_in(payload) == []


def test_a_skill_cannot_spoil_it(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, folder: Path
) -> None:
    uri = cloud.put(inputs, "film.mp4", body := os.urandom(100 * KIB))
    first = make_files(1, film=uri)
    path = Path(first.download_inputs().params["film"])
    path.chmod(0o600)
    path.write_bytes(b"spoiled")
    changed = first.upload_outputs(str(path))
    first.close()

    assert content(make_files(2, film=uri)) == body
    assert cloud.read(changed) == b"spoiled"
    assert [entry.stat().st_mode & 0o777 for entry in entries(folder)] == [0o400]


def test_an_unchanged_input_from_the_cache_keeps_its_uri(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str
) -> None:
    uri = cloud.put(inputs, "film.mp4", os.urandom(100 * KIB))
    content(make_files(1, film=uri))
    second = make_files(2, film=uri)

    assert second.upload_outputs(second.download_inputs().params["film"]) == uri


def test_a_replaced_object_is_downloaded_again(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, fetched: list[str]
) -> None:
    for number in range(2):
        uri = cloud.put(inputs, "film.mp4", body := os.urandom(100 * KIB))
        assert content(make_files(number, film=uri)) == body

    assert len(fetched) == 2


def test_metadata_of_a_client_never_give_it_another_clients_object(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, results: str
) -> None:
    secret = os.urandom(100 * KIB)
    of_bob = cloud.put(
        results, "g0-uploads/bob/0a1b2c3d/a.bin", secret, Metadata={"sha256": sha256(secret).hexdigest()}
    )
    assert content(make_files(1, client="bob", film=of_bob)) == secret
    claimed = cloud.put(
        results,
        "g0-uploads/alice/0a1b2c3d/a.bin",
        os.urandom(100 * KIB),
        Metadata={"sha256": sha256(secret).hexdigest()},
    )

    with pytest.raises(TransientError, match="expected SHA-256"):
        content(make_files(2, film=claimed))
    with pytest.raises(InvalidInputError, match="that this job may read"):
        content(make_files(3, film=of_bob))


def test_its_size_is_bounded_and_least_recently_used_entries_are_evicted(
    make_cached: Callable[..., Any], cloud: ObjectStorage, inputs: str, fetched: list[str], folder: Path
) -> None:
    make_files = make_cached(limit_bytes=400 * KIB)
    uris = [cloud.put(inputs, f"{number}.bin", os.urandom(100 * KIB)) for number in range(5)]
    for number, uri in enumerate(uris[:4]):
        content(make_files(number, film=uri))
    for age, entry in enumerate(sorted(entries(folder), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(entry, (1_000_000 + age, 1_000_000 + age))
    content(make_files(10, film=uris[0]))  # used again

    content(make_files(11, film=uris[4]))
    fetched.clear()
    for number, uri in enumerate((uris[0], uris[2], uris[3], uris[4])):
        content(make_files(20 + number, film=uri))

    assert fetched == []
    assert sum(entry.stat().st_size for entry in entries(folder)) <= 400 * KIB
    content(make_files(30, film=uris[1]))
    assert len(fetched) == 1


@pytest.mark.parametrize("size", [100, 200 * KIB])
def test_small_and_huge_objects_are_not_cached(
    make_cached: Callable[..., Any], cloud: ObjectStorage, inputs: str, folder: Path, size: int
) -> None:
    make_files = make_cached(limit_bytes=400 * KIB)

    assert len(content(make_files(1, film=cloud.put(inputs, "film.mp4", os.urandom(size))))) == size

    assert not folder.exists() or entries(folder) == []


def test_a_folder_of_another_user_is_not_used(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")

    assert content(make_files(1, film=cloud.put(inputs, "film.mp4", body := os.urandom(100 * KIB)))) == body

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_download_that_fails_leaves_nothing_there(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, proxy: HttpProxy, folder: Path
) -> None:
    uri = cloud.put(inputs, "film.mp4", os.urandom(100 * KIB))
    proxy.fail("GET", faults.short, ALWAYS)

    with pytest.raises(TransientError, match=r"expected 102400 bytes, seen|film\.mp4: "):
        content(make_files(1, film=uri))

    assert list(folder.iterdir()) == []


def test_unfinished_files_of_killed_workers_are_removed(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, folder: Path
) -> None:
    folder.mkdir(0o700)
    (folder / "0123456789abcdef").write_bytes(b"half")
    (folder / "fedcba9876543210").write_bytes(b"half")
    os.utime(folder / "0123456789abcdef", (1, 1))

    content(make_files(1, film=cloud.put(inputs, "film.mp4", os.urandom(100 * KIB))))

    assert not (folder / "0123456789abcdef").exists()
    assert (folder / "fedcba9876543210").exists()


def test_newest_lists_digests_with_the_most_recent_first(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, folder: Path
) -> None:
    cache = Cache(folder)
    before = cache.newest()
    uris = [cloud.put(inputs, f"{number}.bin", os.urandom(100 * KIB)) for number in range(3)]
    for number, uri in enumerate([*uris, cloud.put(inputs, "small.bin", b"small")]):
        content(make_files(number, film=uri))
    for age, uri in enumerate(uris):
        [entry] = [path for path in entries(folder) if path.name.startswith(digest_of(uri))]
        os.utime(entry, (1_000_000 + age, 1_000_000 + age))
    all_of_them = cache.newest()
    entry.unlink()

    assert before == ()
    assert all_of_them == tuple(digest_of(uri) for uri in reversed(uris))
    assert cache.newest() == tuple(digest_of(uri) for uri in reversed(uris[:2]))


def test_a_replaced_object_is_listed_once(
    make_files: Callable[..., TaskFiles], cloud: ObjectStorage, inputs: str, folder: Path
) -> None:
    for number in range(2):
        uri = cloud.put(inputs, "film.mp4", os.urandom(100 * KIB))
        content(make_files(number, film=uri))

    assert Cache(folder).newest() == (digest_of(uri),)
