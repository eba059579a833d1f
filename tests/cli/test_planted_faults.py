"""``avtomatika doctor`` finds each of the faults that are planted here, names it, and exits 1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest
import redis

from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store

from ..support.cli import Run
from ..support.servers import OwnServer
from ..support.tcp_proxy import TcpProxy

#: An installation without a fault.
SOUND = {
    "SECRET_KEY": "planted-secret-key",
    "CLIENT_TOKEN": "planted-client-token",
    "WORKER_TOKEN": "planted-worker-token",
}


@dataclass
class Installation:
    """The server and the folder of an installation, to plant a fault in."""

    server: OwnServer
    folder: Path
    run: Run
    stack: ExitStack

    @property
    def redis(self) -> redis.Redis:
        return self.stack.enter_context(redis.Redis(port=self.server.port))

    def cli(self, *args: str) -> None:
        done = self.run(*args, REDIS_URL=self.server.url, **SOUND)
        assert done.code == 0, done.stderr

    def config(self, **values: str) -> dict[str, str]:
        for name, value in values.items():
            self.redis.config_set(name.replace("_", "-"), value)
        return {}


@pytest.fixture
def installation(own_server: OwnServer, project: Path, run: Run) -> Iterator[Installation]:
    with ExitStack() as stack:
        yield Installation(own_server, project, run, stack)


@pytest.fixture
def doctor(installation: Installation) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    def ask(**environment: str) -> tuple[int, list[dict[str, Any]]]:
        done = installation.run("doctor", "--json", **({"REDIS_URL": installation.server.url} | SOUND | environment))
        assert "planted" not in done.stdout
        return done.code, json.loads(done.stdout)

    return ask


def wrong_url(of: Installation) -> dict[str, str]:
    return {"REDIS_URL": "redis://127.0.0.1:1/0"}


def no_password(of: Installation) -> dict[str, str]:
    return {"REDIS_URL": f"redis://0.0.0.0:{of.server.port}/0"}  # not a loopback address, and yet this host


def wrong_clock(of: Installation) -> dict[str, str]:
    late = str(int(time() * 1000) - 3_600_000).encode()
    proxy = of.stack.enter_context(TcpProxy(of.server.port))
    proxy.rewrite = lambda chunk: re.sub(rb'(?<="at_ms":)\d{13}', late, chunk)
    return {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}


def missing_bucket(of: Installation) -> dict[str, str]:
    return {"S3_ENDPOINT_URL": "http://127.0.0.1:1", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b", "S3_BUCKET": "results"}


def unreadable_tokens(of: Installation) -> dict[str, str]:
    (of.folder / "clients.toml").write_bytes(b"[shop]\ntoken = '\xff'\n")
    return {}


def no_client(of: Installation) -> dict[str, str]:
    return {"CLIENT_TOKEN": ""}


def other_secret(of: Installation) -> dict[str, str]:
    other = Store.connect(of.server.url, secret=GroupSecret("of another host"))
    of.stack.callback(other.close)
    assert other.keyring.secret
    return {}


def task_without_worker(of: Installation) -> dict[str, str]:
    of.cli("tasks", "send", "encode", "n:=1")
    return {}


def mixed_versions(of: Installation) -> dict[str, str]:
    of.redis.zadd("{avt.g0}:versions", {"0.0.9": int(time() * 1000)})
    return {}


def full_memory(of: Installation) -> dict[str, str]:
    return of.config(maxmemory=str(of.redis.info("memory")["used_memory"] + 100_000))


def dead_letter(of: Installation) -> dict[str, str]:
    of.redis.xadd("{avt.g0}:q:encode:dead", {"body": "{}"})
    of.redis.zadd("{avt.g0}:dead", {"encode": int(time() * 1000) + 60_000})
    return {}


#: Fault -> the subject and the state of its finding, and words of the text.
FAULTS: dict[Callable[[Installation], dict[str, str]], tuple[str, str, str]] = {
    wrong_url: ("server", "fault", "127.0.0.1:1"),
    no_password: ("password", "fault", "Set requirepass"),
    wrong_clock: ("clock", "fault", "differ by"),
    missing_bucket: ("S3", "fault", "127.0.0.1:1"),
    unreadable_tokens: ("tokens", "fault", "clients.toml"),
    no_client: ("clients", "fault", "set CLIENT_TOKEN"),
    other_secret: ("SECRET_KEY", "fault", "differs between processes"),
    task_without_worker: ("encode", "fault", "No worker with the skill 'encode'"),
    full_memory: ("memory", "fault", "new jobs are rejected"),
    mixed_versions: ("versions", "warning", "processes of 2 versions run"),
    dead_letter: ("encode", "warning", "1 dead letter"),
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(
    plant: Callable[[Installation], dict[str, str]],
    installation: Installation,
    doctor: Callable[..., tuple[int, list[dict[str, Any]]]],
) -> None:
    subject, state, words = FAULTS[plant]

    code, findings = doctor(**plant(installation))

    (found, *_) = [each for each in findings if words in each["finding"]] or pytest.fail(str(findings))
    assert found["state"] == state
    assert subject in (found["subject"], found["kind"].removesuffix("_mixed"))
    assert code == (3 if plant is wrong_url else 1 if state == "fault" else 0)


@pytest.mark.parametrize(
    ("name", "value", "subject", "state"),
    [
        ("maxmemory-policy", "allkeys-lru", "eviction", "fault"),
        ("appendonly", "no", "persistence", "warning"),
        ("appendfsync", "no", "persistence", "warning"),
    ],
)
def test_a_setting_of_the_server_that_loses_jobs_is_found(
    name: str,
    value: str,
    subject: str,
    state: str,
    installation: Installation,
    doctor: Callable[..., tuple[int, list[dict[str, Any]]]],
) -> None:
    installation.config(**{name: value, "maxmemory": "1gb"})

    code, findings = doctor()

    assert {each["subject"]: each["state"] for each in findings}[subject] == state
    assert code == (1 if state == "fault" else 0)


def test_without_a_fault_nothing_is_found(doctor: Callable[..., tuple[int, list[dict[str, Any]]]]) -> None:
    code, findings = doctor()

    assert code == 0
    assert {each["state"] for each in findings} == {"ok"}
