"""The embedded server: one a folder, adopted while it runs, its data kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from avtomatika.cli.address import is_free
from avtomatika.cli.embedded import EmbeddedServer, is_running, running_server
from avtomatika.cli.embedded_cluster import EmbeddedCluster
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


def test_data_are_kept_in_an_append_only_file(var: Path) -> None:
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


def test_a_running_server_is_adopted(var: Path) -> None:
    first, second = EmbeddedServer(var), EmbeddedServer(var)
    first.start()

    is_adopted = second.start()

    assert is_adopted
    assert second.url == first.url == running_server(var)


def test_an_adopted_server_can_be_stopped(var: Path) -> None:
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


def test_a_killed_server_restarts_on_the_same_port(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()
    url = server.url
    os.kill(process_id(url), signal.SIGKILL)
    while server.is_alive():
        pass

    server.start()

    assert server.is_alive()
    assert server.url == url


def test_the_server_ignores_ctrl_c(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()

    os.kill(process_id(server.url), signal.SIGINT)

    assert process_id(server.url) == process_id(running_server(var))


def test_without_a_server_the_error_names_the_command_that_starts_one(var: Path) -> None:
    with pytest.raises(UnavailableError, match="avtomatika up"):
        running_server(var)


def test_a_port_in_use_is_not_free(var: Path) -> None:
    server = EmbeddedServer(var)
    server.start()

    assert not is_free(int(server.url.rpartition(":")[2].removesuffix("/0")), "127.0.0.1")


def test_the_nodes_of_a_cluster_share_all_slots_and_keep_their_data(tmp_path: Path) -> None:
    var = tmp_path / "clustered"
    cluster = EmbeddedCluster(var)
    try:
        assert not cluster.start()
        url = cluster.url
        first = f"redis://{url.removeprefix('redis+cluster://').split(',')[0]}"
        with redis.RedisCluster.from_url(first) as client:
            client.config_set("appendfsync", "always", target_nodes=redis.RedisCluster.PRIMARIES)
            for n in range(30):
                client.set(f"key-{n}", n)
            assert len(client.get_primaries()) == 3
        os.kill(process_id(first), signal.SIGKILL)
        while cluster.is_alive():
            pass

        assert not cluster.start()
        assert EmbeddedCluster(var).start()  # all are adopted
        assert running_server(var) == cluster.url == url
        with redis.RedisCluster.from_url(first) as client:
            assert [client.get(f"key-{n}") for n in range(30)] == [str(n).encode() for n in range(30)]
    finally:
        EmbeddedCluster(var).stop()
    assert not is_running(var)
