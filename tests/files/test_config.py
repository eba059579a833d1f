from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from avtomatika.errors import SettingsError
from avtomatika.files.config import S3Config
from avtomatika.worker.config import WorkerConfig


def read(**environ: str) -> S3Config | None:
    with mock.patch.dict(os.environ, environ, clear=True):
        return S3Config.from_environment()


def test_s3_is_off_until_something_turns_it_on() -> None:
    assert read() is None
    assert read(S3_BUCKET=" ", S3_REGION="eu-west-1", AWS_CA_BUNDLE="/nowhere") is None
    assert read(S3_BUCKET="results") == S3Config(bucket="results")


def test_everything_is_read() -> None:
    config = read(
        S3_ENDPOINT_URL="http://localhost:9000",
        S3_ACCESS_KEY="key",
        S3_SECRET_KEY="secret",
        S3_SESSION_TOKEN="token",
        S3_BUCKET="results",
        S3_REGION="eu-west-1",
        S3_CA_BUNDLE=__file__,
        S3_ALLOWED_BUCKETS="films, scenes,",
    )

    assert config == S3Config(
        endpoint_url="http://localhost:9000",
        access_key="key",
        secret_key="secret",
        session_token="token",
        bucket="results",
        region="eu-west-1",
        ca_bundle=__file__,
        allowed_buckets=frozenset({"films", "scenes"}),
    )
    assert "secret" not in repr(config)


def test_servers_other_than_amazon_use_path_style() -> None:
    assert S3Config(endpoint_url="http://localhost:9000").needs_path_style
    assert not S3Config(endpoint_url="https://s3.eu-west-1.amazonaws.com").needs_path_style
    assert not S3Config().needs_path_style


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "when_supported"),
        ({"S3_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"}, "when_supported"),
        ({"S3_ENDPOINT_URL": "https://minio:9000"}, "when_required"),
        (
            {"S3_ENDPOINT_URL": "https://minio:9000", "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_SUPPORTED"},
            "when_supported",
        ),
        ({"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}, "when_required"),
    ],
)
def test_bodies_carry_a_crc_if_the_server_supports_it(environ: dict[str, str], expected: str) -> None:
    config = read(S3_BUCKET="results", **environ)

    assert config is not None
    assert config.request_checksums == expected


def test_the_bucket_of_results_may_always_be_named() -> None:
    config = S3Config(bucket="results", allowed_buckets=frozenset({"films"}))

    assert [config.allows(bucket) for bucket in ("results", "films", "others")] == [True, True, False]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"S3_ACCESS_KEY": "a"}, "S3_SECRET_KEY is not set, but S3_ACCESS_KEY is"),
        ({"S3_SECRET_KEY": "a"}, "S3_ACCESS_KEY is not set, but S3_SECRET_KEY is"),
        ({"S3_ENDPOINT_URL": "localhost:9000"}, "S3_ENDPOINT_URL='localhost:9000': must be a URL like"),
        ({"S3_ENDPOINT_URL": "http://me:sesame@host"}, "set the keys in S3_ACCESS_KEY and S3_SECRET_KEY"),
        ({"S3_BUCKET": "b", "S3_CA_BUNDLE": "/no/ca.pem"}, "S3_CA_BUNDLE='/no/ca.pem': no such file"),
        ({"S3_BUCKET": "b", "AWS_CA_BUNDLE": "/no/ca.pem"}, "AWS_CA_BUNDLE='/no/ca.pem': no such file"),
    ],
)
def test_what_does_not_fit_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        read(**environ)

    assert "sesame" not in str(caught.value)


def test_boto3_is_not_loaded_before_the_first_file(tmp_path: Path) -> None:
    script = (
        "import sys, avtomatika.cli.main, avtomatika.worker.run\n"
        "from avtomatika.files.config import S3Config\n"
        "from avtomatika.files.task_storage import TaskStorage\n"
        "from avtomatika.files.payload import PayloadFolder\n"
        "TaskStorage(PayloadFolder(), config=S3Config(bucket='b')).close()\n"
        "print([name for name in ('boto3', 'botocore', 's3transfer') if name in sys.modules])\n"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said == "[]\n"


def test_a_worker_reads_what_it_needs_of_files() -> None:
    environ = {"S3_BUCKET": "results", "WORKER_PAYLOAD_DIR": "/tmp/payloads", "WORKER_MAX_TASK_BYTES": "1000"}
    with mock.patch.dict(os.environ, environ, clear=True):
        config = WorkerConfig.from_environment()

    assert config.s3 == S3Config(bucket="results")
    assert (config.payload_dir, config.max_task_bytes) == ("/tmp/payloads", 1000)
