"""``wait_replicas``: what was confirmed is on a replica."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis
from kombu import Exchange, Queue

from avtomatika import broker
from avtomatika.transport import RedisClient

from ..support.servers import IS_CLUSTER, OwnServer
from ..support.waiting import wait_until

QUEUE = Queue("photos", Exchange("media"), routing_key="photo")


@pytest.fixture
def pair(make_server: Callable[..., Any]) -> tuple[OwnServer, OwnServer]:
    if IS_CLUSTER:
        pytest.skip("nodes of a cluster are not replicated by REPLICAOF")
    primary, replica = make_server(**{"repl-diskless-sync-delay": 0}), make_server()
    with redis.Redis.from_url(replica.url, decode_responses=True) as client:
        client.replicaof("127.0.0.1", primary.port)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the first synchronisation")
    return primary, replica


def test_a_message_is_confirmed_once_a_replica_has_it(pair: tuple[OwnServer, OwnServer]) -> None:
    primary, replica = pair
    pid = replica.pid
    with broker.connect(f"{primary.url}?wait_replicas=1") as connection, connection.Producer() as producer:
        producer.publish("first", exchange="media", routing_key="photo", declare=[QUEUE])
        with redis.Redis.from_url(replica.url) as copy:
            assert copy.xlen("{avt.g0}:q:photos:0") == 1

        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(redis.ConnectionError, match="0 of 1 replicas confirmed what was written"):
                producer.publish("second", exchange="media", routing_key="photo")
        finally:
            os.kill(pid, signal.SIGCONT)


def test_reading_does_not_wait(pair: tuple[OwnServer, OwnServer]) -> None:
    primary, replica = pair
    replica.kill()
    client = RedisClient.connect(f"{primary.url}?wait_replicas=1")

    assert client.execute_all([("PING",), ("GET", "{avt.g0}:identity")])[0] == b"PONG"
    client.close()


def test_a_user_who_may_not_wait_is_told_so(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~*", "&*", "+@all", "-wait")
        url = redis_url.replace("//", "//shop:pw@")
        with (
            broker.connect(f"{url}?wait_replicas=1") as connection,
            pytest.raises(redis.exceptions.NoPermissionError, match="'wait' command"),
        ):
            broker.declare_tasks(connection, ["encode"])
        admin.execute_command("ACL", "DELUSER", "shop")


@pytest.mark.parametrize("count", ["one", "-1", "1.5"])
def test_the_number_of_replicas_is_checked(count: str) -> None:
    with pytest.raises(ValueError, match=f"wait_replicas in a URL must be a number of replicas, not '{count}'"):
        RedisClient.connect(f"redis://localhost?wait_replicas={count}")
