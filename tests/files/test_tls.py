"""S3 over TLS with a private certificate authority."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from avtomatika.errors import TransientError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.s3_transfer import PART_BYTES
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage

from ..support.certificates import make_certificates
from ..support.http_proxy import HttpProxy
from ..support.object_storage import ObjectStorage
from .conftest import task


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure_url(cloud: ObjectStorage, certificates: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "host.pem", certificates / "host.key")
    with HttpProxy(cloud.url, tls=context) as proxy:
        yield proxy.url


@pytest.fixture
def trusting(config: S3Config, secure_url: str, certificates: Path) -> S3Config:
    return replace(config, endpoint_url=secure_url, ca_bundle=str(certificates / "ca.pem"))


@pytest.mark.parametrize("checksums", [None, "when_supported"])
@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
def test_files_are_transferred_if_the_authority_is_trusted(
    make_storage: Callable[..., TaskStorage],
    trusting: S3Config,
    cloud: ObjectStorage,
    inputs: str,
    *,
    size: int,
    checksums: str | None,
) -> None:
    body = os.urandom(size)
    files = TaskFiles(
        make_storage(replace(trusting, checksums=checksums)), task({"film": cloud.put(inputs, "film.mp4", body)})
    )

    film = Path(files.download_inputs().params["film"])
    copy = Files(files).path("copy.mp4")
    copy.write_bytes(film.read_bytes())
    uri = files.upload_outputs(str(copy))
    files.close()

    assert cloud.read(uri) == body
    with closing(Bucket(trusting)) as objects:
        assert objects.exists(objects.location(uri.removeprefix(f"s3://{trusting.bucket}/")))


def test_untrusted_certificates_are_refused(
    make_storage: Callable[..., TaskStorage], trusting: S3Config, cloud: ObjectStorage, inputs: str
) -> None:
    uri = cloud.put(inputs, "film.mp4", b"film")
    files = TaskFiles(make_storage(replace(trusting, ca_bundle=None)), task({"film": uri}))

    with pytest.raises(TransientError, match=rf"{uri}: SSLError: .*certificate verify failed"):
        files.download_inputs()
    files.close()


def test_certificates_for_other_names_are_refused(
    make_storage: Callable[..., TaskStorage], trusting: S3Config, cloud: ObjectStorage, inputs: str
) -> None:
    uri, url = cloud.put(inputs, "film.mp4", b"film"), str(trusting.endpoint_url).replace("localhost", "127.0.0.1")
    files = TaskFiles(make_storage(replace(trusting, endpoint_url=url)), task({"film": uri}))

    with pytest.raises(TransientError, match=rf"{uri}: SSLError: .*'127\.0\.0\.1' doesn't match 'localhost'"):
        files.download_inputs()
    files.close()
