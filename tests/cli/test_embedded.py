"""The embedded server: one a folder, adopted while it runs, its data kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from avtomatika.cli.address import is_free
from avtomatika.cli.embedded import EmbeddedServer, running_server
from avtomatika.errors import UnavailableError


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "var"
    folder.mkdir()
    yield folder
    EmbeddedServer(folder).stop()


def process_id(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def test_it_keeps_its_data_by_an_append_only_file(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        client.set("kept", "yes")

    server.stop()
    EmbeddedServer(var).start()

    with redis.Redis.from_url(running_server(var), decode_responses=True) as client:
        assert client.get("kept") == "yes"


def test_one_that_runs_is_adopted_and_not_doubled(var: Path) -> None:
    first, second = EmbeddedServer(var), EmbeddedServer(var)
    first.start()

    is_adopted = second.start()

    assert is_adopted
    assert second.url == first.url == running_server(var)


def test_one_that_was_adopted_can_be_stopped(var: Path) -> None:
    first, second = EmbeddedServer(var), EmbeddedServer(var)
    first.start()
    second.start()

    second.stop()

    assert not first.is_alive()


def test_two_folders_have_two_servers(var: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    first, second = EmbeddedServer(var), EmbeddedServer(other)
    first.start()

    second.start()

    assert process_id(first.url) != process_id(second.url)
    second.stop()


def test_a_killed_one_is_seen_and_starts_again_where_it_was(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()
    url = server.url
    os.kill(process_id(url), signal.SIGKILL)
    while server.is_alive():
        pass

    server.start()

    assert server.is_alive()
    assert server.url == url


def test_ctrl_c_in_its_terminal_does_not_end_it(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()

    os.kill(process_id(server.url), signal.SIGINT)

    assert process_id(server.url) == process_id(running_server(var))


def test_where_none_runs_the_line_to_type_is_said(var: Path) -> None:
    with pytest.raises(UnavailableError, match="avtomatika up"):
        running_server(var)


def test_a_port_that_somebody_listens_on_is_not_free(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()

    assert not is_free(int(server.url.rpartition(":")[2].removesuffix("/0")), "127.0.0.1")
