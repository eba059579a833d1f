"""A Redis Cluster of local servers: primaries that share all slots, and their replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from .servers import IS_CLUSTER, OwnServer
from .waiting import wait_until

#: Fails over in about two seconds.
_CONFIG = {"cluster-enabled": "yes", "cluster-node-timeout": 1000, "repl-diskless-sync-delay": 0}


class Cluster:
    """*primaries* servers, the slots in equal shares, each with one replica if *has_replicas*."""

    def __init__(self, make_server: Callable[..., OwnServer], *, primaries: int, has_replicas: bool = False) -> None:
        if IS_CLUSTER:
            pytest.skip("its servers form clusters of their own")
        self.nodes = [make_server(**_CONFIG) for _ in range(primaries * (2 if has_replicas else 1))]
        clients = [redis.Redis.from_url(node.url) for node in self.nodes]
        share = REDIS_CLUSTER_HASH_SLOTS // primaries
        for place, client in enumerate(clients[:primaries]):
            last = REDIS_CLUSTER_HASH_SLOTS if place == primaries - 1 else (place + 1) * share
            client.execute_command("CLUSTER ADDSLOTSRANGE", place * share, last - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        for client in clients[1:]:
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        ids = [str(client.execute_command("CLUSTER MYID").decode()) for client in clients]
        wait_until(lambda: all(len(_nodes(client)) == len(ids) for client in clients), 30, "the nodes meet")
        for place, client in enumerate(clients[primaries:]):
            client.execute_command("CLUSTER REPLICATE", ids[place])
        wait_until(lambda: all(_is_ready(client) for client in clients), 30, "the cluster is ready")
        for client in clients:
            client.close()

    @property
    def url(self) -> str:
        return f"redis+{self.kombu_url}"

    @property
    def kombu_url(self) -> str:
        return "cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner_of(self, prefix: str) -> OwnServer:
        """Return the running primary of the keys that start with *prefix*."""
        slot = key_slot(prefix.encode())
        for node in self.nodes:
            if not node.is_running:
                continue
            with redis.Redis.from_url(node.url) as client:
                owners = client.execute_command("CLUSTER SLOTS")
            for first, last, (_, port, *_), *_ in owners:
                if first <= slot <= last:
                    return next(each for each in self.nodes if each.port == port)
        raise AssertionError("no node runs")

    def other_primary(self, prefix: str) -> OwnServer:
        """Return a running primary that does not own the keys that start with *prefix*."""
        owner = self.owner_of(prefix)
        for node in self.nodes:
            with redis.Redis.from_url(node.url) as client:
                if node is not owner and client.info("replication")["role"] == "master":
                    return node
        raise AssertionError("there is no other primary")

    def replica_of(self, primary: OwnServer) -> OwnServer:
        for node in self.nodes:
            with redis.Redis.from_url(node.url) as client:
                if client.info("replication").get("master_port") == primary.port:
                    return node
        raise AssertionError(f"the primary at port {primary.port} has no replica")

    def fail_over(self, primary: OwnServer) -> None:
        """Make the replica of *primary* the primary, while both are healthy."""
        with redis.Redis.from_url(self.replica_of(primary).url) as client:
            client.execute_command("CLUSTER FAILOVER")

    def migrate(self, prefix: str, target: OwnServer) -> None:
        """Move the slot of *prefix* to *target*, some keys at a time."""
        slot, source = key_slot(prefix.encode()), self.owner_of(prefix)
        with redis.Redis.from_url(source.url) as old, redis.Redis.from_url(target.url) as new:
            old_id, new_id = (client.execute_command("CLUSTER MYID").decode() for client in (old, new))
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 2):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)

    def migrate_at_once(self, prefix: str, target: OwnServer) -> None:
        """Move the slot of *prefix* to *target* with all its keys. Skips the test if the server cannot do so."""
        slot = key_slot(prefix.encode())
        with redis.Redis.from_url(self.owner_of(prefix).url) as old, redis.Redis.from_url(target.url) as new:
            move = ("SLOTSRANGE", slot, slot, "NODE", new.execute_command("CLUSTER MYID"))
            try:
                old.execute_command("CLUSTER MIGRATESLOTS", *move)
            except redis.ResponseError as error:
                if "unknown" not in str(error).lower():
                    raise
                pytest.skip("the server does not move slots at once")
            wait_until(lambda: _ended(old), 30, "the slot is at its new owner")
            assert _ended(old) == b"success"


def _ended(client: redis.Redis) -> bytes:
    """Return how the last move of a slot ended; b"" while it runs."""
    state = bytes(client.execute_command("CLUSTER GETSLOTMIGRATIONS")[0][b"state"])
    return state if state in (b"success", b"failed", b"cancelled") else b""


def _nodes(client: redis.Redis) -> list[str]:
    nodes: dict[str, Any] = client.execute_command("CLUSTER NODES")
    return list(nodes)


def _is_ready(client: redis.Redis) -> bool:
    is_ok = client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
    replication = client.info("replication")
    return is_ok and replication.get("master_link_status", "up") == "up"
