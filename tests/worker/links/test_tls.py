"""Workers over TLS with private and untrusted certificates."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ...support.certificates import make_certificates
from ...support.processes import Process
from ...support.scripted_orchestrator import DEADLINE_SECONDS, Office
from ...support.tcp_proxy import TcpProxy
from ...support.web import WebServer

TOKEN = "planted-token-of-all"
#: Host names of the same server, and why its certificate is invalid with or without the authority.
REFUSALS = pytest.mark.parametrize(
    ("host", "is_known", "why"),
    [
        ("localhost", False, "unable to get local issuer certificate"),
        ("127.0.0.1", True, "certificate is not valid for '127.0.0.1'"),
    ],
)
Encrypt = Callable[[str], int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` by a private authority: ca.pem, host.pem, host.key."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypt(folder: Path) -> Iterator[Encrypt]:
    """Return the TLS port of the server of a URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "host.pem", folder / "host.key")
    proxies: list[TcpProxy] = []

    def start(url: str) -> int:
        proxies.append(TcpProxy(urlsplit(url).port or 0, tls=context))
        return proxies[-1].__enter__().port

    yield start
    for proxy in proxies:
        proxy.__exit__()


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A web server that rejects every request, and the tokens that it received."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.headers["X-Worker-Token"])
            self.send_error(500)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    thread.join()
    server.server_close()


# ---------------------------------------------------------------- over HTTP


def test_a_worker_works_over_https_where_it_trusts_the_authority(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    encrypt: Encrypt,
    folder: Path,
) -> None:
    port = encrypt(f"http://{make_web(redis_url, WORKER_TOKEN=TOKEN).address}")
    worker = make_worker(
        ORCHESTRATOR_URL=f"https://localhost:{port}", WORKER_TOKEN=TOKEN, SSL_CERT_FILE=str(folder / "ca.pem")
    )
    office.give({"by": "a"}, {"by": "b"})

    results = office.results(2)
    worker.process.terminate()

    assert [result.data for result in results] == [{"by": "a"}, {"by": "b"}]
    assert worker.process.wait(DEADLINE_SECONDS) == 0


@REFUSALS
def test_an_untrusted_address_gets_no_token(
    make_worker: Callable[..., Process], encrypt: Encrypt, folder: Path, host: str, is_known: bool, why: str
) -> None:
    known = {"SSL_CERT_FILE": str(folder / "ca.pem")}
    with listening() as (url, heard):
        port = encrypt(url)

        worker = make_worker(ORCHESTRATOR_URL=f"https://{host}:{port}", WORKER_TOKEN=TOKEN, **known if is_known else {})
        worker.wait_for_log(why)
        worker.wait_for_log(why)
        was_heard = list(heard)
        trusting = make_worker(ORCHESTRATOR_URL=f"https://localhost:{port}", WORKER_TOKEN=TOKEN, **known)
        trusting.wait_for_log("replied 500")

    assert f"https://{host}:{port} is not trusted: " in worker.log
    assert was_heard == []
    assert heard[0] == TOKEN  # a trusted server receives it there, so the test would see it
    assert TOKEN not in worker.log


@pytest.mark.parametrize("mode", ["FAILOVER", "ROUND_ROBIN"])
def test_an_untrusted_address_delays_no_other(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    encrypt: Encrypt,
    mode: str,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN=TOKEN)
    ill = f"https://localhost:{encrypt(f'http://{web.address}')}"
    addresses = json.dumps([{"url": ill}, {"url": f"http://{web.address}"}])

    worker = make_worker(ORCHESTRATORS_CONFIG=addresses, MULTI_ORCHESTRATOR_MODE=mode, WORKER_TOKEN=TOKEN)
    worker.wait_for_log(f"{ill} is not trusted")
    office.give({"by": "a"}, {"by": "b"})

    assert [result.data["by"] for result in office.results(2)] == ["a", "b"]


# ---------------------------------------------------------------- on the broker


@pytest.mark.parametrize("is_in_url", [True, False])
def test_a_worker_works_over_rediss_where_it_trusts_the_authority(
    redis_url: str,
    office: Office,
    make_worker: Callable[..., Process],
    encrypt: Encrypt,
    folder: Path,
    is_in_url: bool,
) -> None:
    url, authority = f"rediss://localhost:{encrypt(redis_url)}/0", str(folder / "ca.pem")
    known = {} if is_in_url else {"SSL_CERT_FILE": authority}
    make_worker(ORCHESTRATOR_URL=f"{url}?ssl_ca_certs={authority}" if is_in_url else url, **known)

    office.give({"by": "a"})

    assert office.results(1)[0].data == {"by": "a"}


@REFUSALS
def test_an_untrusted_broker_is_named_with_the_reason(
    redis_url: str,
    make_worker: Callable[..., Process],
    encrypt: Encrypt,
    folder: Path,
    host: str,
    is_known: bool,
    why: str,
) -> None:
    port = encrypt(redis_url)
    option = f"?ssl_ca_certs={folder / 'ca.pem'}" if is_known else ""

    worker = make_worker(ORCHESTRATOR_URL=f"rediss://:sesame@{host}:{port}/0{option}")
    worker.wait_for_log(why)

    assert f"broker rediss://{host}:{port}/0 does not answer" in worker.log
    assert "sesame" not in worker.log
