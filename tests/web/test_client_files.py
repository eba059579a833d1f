"""Files through the Python client: the app behind a real socket, a real S3 server, and a proxy before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server

from avtomatika.client import Client
from avtomatika.errors import InvalidRequestError, NotFoundError, UnavailableError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.job_files import JobFiles
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from ..support import http_proxy as faults
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import PLANS

ALWAYS = 10_000


@pytest.fixture
def proxy(cloud: ObjectStorage) -> Iterator[HttpProxy]:
    with HttpProxy(cloud.url) as proxy:
        yield proxy


@pytest.fixture
def bucket(cloud: ObjectStorage) -> str:
    return cloud.make_bucket()


@pytest.fixture
def alice(
    store: Store, clients: Clients, declare: Callable[[], None], cloud: ObjectStorage, bucket: str, *, proxy: HttpProxy
) -> Iterator[Client]:
    """Reaches S3 by the proxy; the server does not."""
    config = S3Config(
        endpoint_url=cloud.url,
        public_endpoint_url=proxy.url,
        access_key="key",
        secret_key="secret",
        bucket=bucket,
        region="us-east-1",
    )
    objects = Bucket(config)
    job_files = JobFiles(objects, group="g0")
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare, job_files=job_files)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}", "token-of-alice-in-tests") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()
    objects.close()


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avtomatika.client.transfers._PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_file_goes_up_and_comes_down_byte_by_byte(
    alice: Client, cloud: ObjectStorage, tmp_path: Path, size: int
) -> None:
    body, source = os.urandom(size), tmp_path / "mövie 1.mp4"
    source.write_bytes(body)
    job_id = alice.submit("video")["job_id"]

    sent, received = list[tuple[int, int]](), list[tuple[int, int]]()
    uri = alice.upload(source, job_id=job_id, on_progress=lambda *done: sent.append(done))
    path = alice.download(job_id, "mövie 1.mp4", tmp_path / "copy.mp4", on_progress=lambda *done: received.append(done))

    assert {done[-1] for done in (sent, received) if size} <= {(size, size)}
    assert all(done == sorted(done) for done in (sent, received))
    assert cloud.read(uri) == path.read_bytes() == body
    assert [each["uri"] for each in alice.files(job_id)] == [uri]


def test_into_a_folder_a_file_comes_by_its_name(alice: Client, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    job_id = alice.submit("video")["job_id"]
    alice.upload(tmp_path / "a.txt", job_id=job_id)
    (tmp_path / "folder").mkdir()

    assert alice.download(job_id, "a.txt", tmp_path / "folder").read_text() == "hello"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.txt"]


def test_a_token_of_ours_never_reaches_s3(alice: Client, proxy: HttpProxy, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    proxy.fail("PUT", lambda handler, answer: (seen.append(dict(handler.headers)), handler.give(answer))[1])
    (tmp_path / "a.txt").write_text("hello")

    alice.upload(tmp_path / "a.txt")

    assert "token-of-alice-in-tests" not in str(seen)
    assert len(seen) == 1


@pytest.mark.parametrize("happen", [faults.broken, faults.busy])
def test_sending_is_tried_again(
    alice: Client, cloud: ObjectStorage, proxy: HttpProxy, tmp_path: Path, happen: Any
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    proxy.fail("PUT", happen, times=2)

    assert cloud.read(alice.upload(tmp_path / "a.txt")) == b"hello"


@pytest.mark.parametrize("happen", [faults.broken, faults.reset, faults.altered])
def test_fetching_is_tried_again(alice: Client, proxy: HttpProxy, tmp_path: Path, happen: Any) -> None:
    (tmp_path / "a.bin").write_bytes(body := os.urandom(100_000))
    job_id = alice.submit("video")["job_id"]
    alice.upload(tmp_path / "a.bin", job_id=job_id)
    proxy.fail("GET", happen, times=2)

    assert alice.download(job_id, "a.bin", tmp_path / "copy").read_bytes() == body


@pytest.mark.parametrize(
    ("happen", "words"),
    [
        (faults.broken, "answered 500"),
        (faults.reset, "cannot be reached"),
        (faults.altered, "expected SHA-256 [0-9a-f]{64}, received [0-9a-f]{64}"),
    ],
)
def test_what_does_not_end_well_leaves_nothing_and_shows_no_signature(
    alice: Client, proxy: HttpProxy, tmp_path: Path, happen: Any, words: str
) -> None:
    (tmp_path / "a.bin").write_bytes(os.urandom(100_000))
    job_id = alice.submit("video")["job_id"]
    alice.upload(tmp_path / "a.bin", job_id=job_id)
    proxy.fail("GET", happen, ALWAYS)
    (tmp_path / "folder").mkdir()

    with pytest.raises(UnavailableError, match=words) as caught:
        alice.download(job_id, "a.bin", tmp_path / "folder")

    assert "Signature" not in str(caught.value)
    assert list((tmp_path / "folder").iterdir()) == []


def test_what_is_not_there_is_told(alice: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    job_id = alice.submit("video")["job_id"]
    alice.upload(tmp_path / "a", job_id=job_id)

    with pytest.raises(InvalidRequestError, match="cannot be read: No such file"):
        alice.upload(tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="no file 'nothing'"):
        alice.download(job_id, "nothing", tmp_path)
    with pytest.raises(InvalidRequestError, match="cannot be written to"):
        alice.download(job_id, "a", tmp_path / "no folder" / "a")
