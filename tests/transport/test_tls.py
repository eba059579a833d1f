"""TLS: certificates are verified, authorities can be added, and verification can be disabled."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from kombu import Connection

from avtomatika import broker
from avtomatika.errors import UnavailableError
from avtomatika.transport import connect

from ..support.certificates import make_certificates
from ..support.tcp_proxy import TcpProxy

TRANSPORT = "avtomatika.transport:Transport"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` by an unknown authority: ca.pem, host.pem, host.key."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def port(redis_url: str, folder: Path) -> Iterator[int]:
    """The server's TLS port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "host.pem", folder / "host.key")
    with TcpProxy(urlsplit(redis_url).port or 0, tls=context) as proxy:
        yield proxy.port


def test_a_certificate_of_an_unknown_authority_is_refused(port: int) -> None:
    with (
        connect(f"rediss://localhost:{port}/0") as client,
        pytest.raises(redis.ConnectionError, match="certificate verify failed"),
    ):
        client.ping()


def test_the_broker_reports_a_certificate_error(port: int) -> None:
    with (
        broker.connect(f"rediss://:secret@localhost:{port}/0") as connection,
        pytest.raises(
            UnavailableError, match=f"broker rediss://localhost:{port}/0 .*certificate verify failed"
        ) as raised,
    ):
        broker.declare_tasks(connection, ["encode"])

    assert "secret" not in str(raised.value)


def test_a_configured_authority_is_trusted(port: int, folder: Path) -> None:
    with connect(f"rediss://localhost:{port}/0?ssl_ca_certs={folder / 'ca.pem'}") as client:
        assert client.ping()


def test_a_certificate_for_another_name_is_refused(port: int, folder: Path) -> None:
    with (
        connect(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}") as client,
        pytest.raises(redis.ConnectionError, match=r"certificate is not valid for '127\.0\.0\.1'"),
    ):
        client.ping()


def test_verification_can_be_disabled(port: int, bench: Any, make_bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    encrypted = make_bench(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")

    assert encrypted.read().wait_for(1)[0].payload == 1


@pytest.mark.parametrize(
    ("scheme", "query", "options"),
    [
        ("rediss", "", {"ssl_ca_certs": "ca.pem"}),
        ("redis", "", {"ssl_ca_certs": "ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("rediss", "?ssl_ca_certs=ca.pem&ssl_cert_reqs=CERT_REQUIRED", False),
        ("redis", "?ssl_ca_certs=ca.pem", False),
        ("redis", "", {"ssl_cert_reqs": ssl.CERT_NONE}),
        ("redis", "", {"ssl_cert_reqs": None}),
        ("redis", "?ssl_cert_reqs=CERT_NONE", True),
        ("rediss", "?ssl_ca_certs=ca.pem&ssl_check_hostname=false", {"ssl_check_hostname": True}),
    ],
)
def test_tls_options_are_read_from_the_url_and_from_ssl(
    port: int, folder: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, query: str, options: Any
) -> None:
    monkeypatch.chdir(folder)
    with Connection(f"{scheme}://localhost:{port}/0{query}", transport=TRANSPORT, ssl=options) as connection:
        connection.connect()

        pool = connection.transport.server.pool_of("").factory
        assert pool.connection_class is redis.SSLConnection


def test_tls_without_options_checks_the_certificate(port: int) -> None:
    with (
        Connection("localhost", port=port, transport=TRANSPORT, ssl=True) as connection,
        pytest.raises(redis.ConnectionError, match="certificate verify failed"),
    ):
        connection.connect()


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("redis://localhost", {"keyfile": "x"}, "unknown TLS option 'keyfile'; known are .*ssl_keyfile"),
        ("rediss://localhost?ssl_cert_reqs=maybe", None, "must be none, optional or required, not 'maybe'"),
        ("rediss://localhost?ssl_check_hostname=maybe", None, "ssl_check_hostname must be true or false, not 'maybe'"),
        ("unix:///tmp/redis.sock", {"ssl_cert_reqs": "none"}, "do not apply to a unix:// address"),
    ],
)
def test_an_unsupported_tls_option_is_rejected(url: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Connection(url, transport=TRANSPORT, ssl=options).connect()
