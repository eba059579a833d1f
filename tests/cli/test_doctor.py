"""``avtomatika doctor`` and ``check``: faults and risks of an installation."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from avtomatika.cli.orchestrator import chosen_shards
from avtomatika.core.shards import shard_prefixes
from avtomatika.core.signing import GroupSecret
from avtomatika.errors import SettingsError
from avtomatika.store import Store

from ..support.cli import Done, Run
from ..support.object_storage import ObjectStorage

Doctor = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture
def doctor(run: Run, redis_url: str) -> Doctor:
    """Ask the doctor: exit code, states by subject, and all that was said."""

    def ask(**environment: str) -> tuple[int, dict[str, str], str]:
        done = run("doctor", "--json", **{"REDIS_URL": redis_url, "CLIENT_TOKEN": "planted-client-token"} | environment)
        return done.code, {each["subject"]: each["state"] for each in json.loads(done.stdout)}, done.stdout

    return ask


def test_a_correct_installation_has_no_fault(doctor: Doctor) -> None:
    code, states, _ = doctor(SECRET_KEY="planted-secret", WORKER_TOKEN="planted-worker-token")

    assert code == 0
    assert set(states.values()) == {"ok"}
    assert {"persistence", "eviction", "SECRET_KEY", "broker links", "files"} <= states.keys()


def test_trust_without_tokens_is_a_warning(doctor: Doctor) -> None:
    code, states, said = doctor()

    assert code == 0
    assert states["SECRET_KEY"] == states["broker links"] == "warning"
    assert "every client of the broker can answer tasks" in said


def test_a_secret_that_differs_between_hosts_is_a_fault(doctor: Doctor, redis_url: str) -> None:
    other = Store.connect(redis_url, secret=GroupSecret("of another host"))
    assert other.keyring.secret
    other.close()

    code, states, said = doctor(SECRET_KEY="planted-secret")

    assert (code, states["SECRET_KEY"]) == (1, "fault")
    assert "they reject each other's messages" in said


def test_secret_files_readable_by_others_are_named(doctor: Doctor, project: Path) -> None:
    (project / "workers.toml").write_text('[one]\ntoken = "planted-one-of-tokens"\n')
    (project / "workers.toml").chmod(0o644)
    project.chmod(0o755)

    _, states, said = doctor(SECRET_KEY="planted-secret")

    assert states["files"] == "warning"
    assert "workers.toml" in said


def test_an_invalid_token_file_is_a_fault(doctor: Doctor, project: Path) -> None:
    (project / "workers.toml").write_text("[one]\n")

    code, states, said = doctor()

    assert (code, states["tokens"]) == (1, "fault")
    assert "line 1" in said


def s3_settings(cloud: ObjectStorage, **changed: str) -> dict[str, str]:
    keys = {"S3_ACCESS_KEY": "minioadmin", "S3_SECRET_KEY": "minioadmin"}
    return {"S3_ENDPOINT_URL": cloud.url, "S3_BUCKET": "results", **keys, **changed}


def test_a_working_bucket_is_ok(doctor: Doctor, cloud: ObjectStorage) -> None:
    bucket = cloud.make_bucket()

    _, states, said = doctor(**s3_settings(cloud, S3_BUCKET=bucket))

    assert states["S3"] == "ok"
    assert f"{bucket} can be read and written" in said
    assert cloud.keys(bucket) == []


def test_a_missing_bucket_is_named(doctor: Doctor, cloud: ObjectStorage) -> None:
    code, states, said = doctor(**s3_settings(cloud, S3_BUCKET="no-such-bucket-here"))

    assert (code, states["S3"]) == (1, "fault")
    assert "s3://no-such-bucket-here/: there is no such bucket" in said


def test_a_path_in_the_endpoint_is_named(doctor: Doctor, cloud: ObjectStorage) -> None:
    _, states, said = doctor(**s3_settings(cloud, S3_ENDPOINT_URL=f"{cloud.url}/minio/"))

    assert states["S3"] == "fault"
    assert "S3_ENDPOINT_URL has the path '/minio', which most servers reject" in said


@pytest.mark.parametrize(
    ("status", "kind", "body", "words"),
    [
        (200, "text/html", "<html>please log in</html>", "is not an S3 server: its answer has no Name (text/html)"),
        (200, "text/html", "<html><br>please log in", "is not an S3 server: it responds with text/html"),
        (200, "application/json", '{"ok": true}', "is not an S3 server: it responds with application/json"),
        (302, "text/html", "", "the server redirects (302"),
        (400, "application/xml", "<Error><Code>ExpiredToken</Code></Error>", "S3_SESSION_TOKEN has expired"),
        (403, "application/xml", "<Error><Code>InvalidAccessKeyId</Code></Error>", "does not know S3_ACCESS_KEY"),
        (403, "application/xml", "<Error><Code>SignatureDoesNotMatch</Code></Error>", "S3_SECRET_KEY is wrong"),
        (403, "application/xml", "<Error><Code>RequestTimeTooSkewed</Code></Error>", "clocks of this host and of"),
    ],
)
def test_responses_of_other_servers_are_explained(
    doctor: Doctor, status: int, kind: str, body: str, words: str
) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        code, states, said = doctor(
            S3_ENDPOINT_URL=url, S3_BUCKET="results", S3_ACCESS_KEY="a", S3_SECRET_KEY="planted-s3"
        )
        server.shutdown()

    assert (code, states["S3"]) == (1, "fault")
    assert words in said


def test_an_unreachable_bucket_is_a_fault(doctor: Doctor) -> None:
    code, states, _ = doctor(
        S3_ENDPOINT_URL="http://127.0.0.1:1", S3_ACCESS_KEY="a", S3_SECRET_KEY="planted-s3", S3_BUCKET="results"
    )

    assert (code, states["S3"]) == (1, "fault")


def test_an_unreachable_server_is_exit_3_beside_other_findings(doctor: Doctor) -> None:
    code, states, said = doctor(REDIS_URL="redis://:planted-password@127.0.0.1:1/0")

    assert (code, states["server"], states["files"]) == (3, "fault", "ok")
    assert "planted" not in said


def test_no_secret_is_shown(doctor: Doctor) -> None:
    assert "planted" not in doctor(SECRET_KEY="planted-secret", WORKER_TOKEN="planted-worker-token")[2]


# ---------------------------------------------------------------- check


def test_check_needs_no_server(run: Run, project: Path) -> None:
    (project / "workers.toml").write_text('["cpu-*"]\ntoken = "token-of-the-fleet"\n')

    done = run("check")

    assert done.code == 0, done.stderr
    assert "blueprint greetings: 3 states" in done.stdout
    assert ": cpu-*" in done.stdout
    assert "greet" in done.stdout


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("blueprints/greetings.py", "from avtomatika import Blueprint\nbp = Blueprint(name='empty')\n"),
        ("workers.toml", "[one]\n"),
        ("clients.toml", "[one]\n"),
        ("worker.py", "worker = 1\n"),
    ],
)
def test_check_reports_what_would_not_start(run: Run, project: Path, file: str, text: str) -> None:
    (project / file).write_text(text)

    done: Done = run("check")

    assert done.code != 0
    assert done.stderr


def test_another_number_of_shards_than_the_installation_has_is_a_fault(doctor: Doctor, redis_url: str) -> None:
    with closing(Store.connect(redis_url, prefixes=shard_prefixes("g0", 4))) as store:
        store.placement.record()
    tokens = {"SECRET_KEY": "planted-secret", "WORKER_TOKEN": "planted-worker-token"}

    states = {number: doctor(AVTOMATIKA_SHARDS=number, **tokens)[1]["shards"] for number in ("1", "4", "5")}

    assert states == {"1": "fault", "4": "ok", "5": "warning"}


def test_an_orchestrator_with_fewer_shards_than_the_installation_does_not_start(
    run_process: Run, redis_url: str
) -> None:
    with closing(Store.connect(redis_url, prefixes=shard_prefixes("g0", 4))) as store:
        store.placement.record()

    done = run_process("orchestrator", REDIS_URL=redis_url, AVTOMATIKA_SHARDS="3")

    assert done.code == 2
    assert "AVTOMATIKA_SHARDS is 3, but the installation has 4 shards" in done.stderr


@pytest.mark.parametrize(
    ("numbers", "places"),
    [(None, [0, 1, 2, 3]), ("2", [2]), ("3,0-1,1", [0, 1, 3]), ("1-4", None), ("3-1", None), ("x", None), ("", None)],
)
def test_an_orchestrator_serves_the_shards_that_it_is_given(numbers: str | None, places: list[int] | None) -> None:
    prefixes = shard_prefixes("g0", 4)

    if places is None:
        with pytest.raises(SettingsError, match="must be like 0-7,9, of 0-3"):
            chosen_shards(numbers, prefixes)
    else:
        assert list(chosen_shards(numbers, prefixes)) == [prefixes[place] for place in places]
