from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from avtomatika.store import Store, check_server
from avtomatika.store.server_info import ServerInfo, ServerInfoReader
from avtomatika.transport import RedisClient

SOUND = ServerInfo("9.1.2", "everysec", used_memory=2**20, maxmemory=2**30)


def states(server: ServerInfo) -> dict[str, str]:
    return {finding.subject: finding.state.value for finding in check_server(server)}


def test_a_sound_server_has_no_fault() -> None:
    assert states(SOUND) == {"server": "ok", "persistence": "ok", "eviction": "ok", "memory": "ok"}


@pytest.mark.parametrize(
    ("change", "subject", "state"),
    [
        ({"aof": "always"}, "persistence", "ok"),
        ({"aof": "on"}, "persistence", "ok"),
        ({"aof": "no"}, "persistence", "warning"),
        ({"aof": "off"}, "persistence", "warning"),
        ({"eviction": "allkeys-lru"}, "eviction", "fault"),
        ({"eviction": "allkeys-lru", "maxmemory": 0}, "eviction", "warning"),
        ({"used_memory": 9 * 2**27}, "memory", "fault"),
        ({"replicas": 1}, "replicas", "warning"),
        ({"replicas": 1, "min_replicas": 1}, "replicas", "ok"),
        ({"kind": "Redis", "version": "6.2.14"}, "server", "fault"),
        ({"kind": "Redis", "version": "7.0.0"}, "server", "ok"),
    ],
)
def test_what_is_not_sound_is_named(change: dict[str, Any], subject: str, state: str) -> None:
    assert states(replace(SOUND, **change))[subject] == state


def test_a_server_that_refuses_info_can_be_used(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "hosted", "on", ">pw", "~{avt.g0}:*", "&*", "+@all", "-@dangerous")
        url = redis_url.replace("//", "//hosted:pw@")
        store = Store.connect(url)
        found = states(*store.ping())
        ServerInfoReader(RedisClient.connect(url)).refuse_when_full()
        jobs = store.overview.read().jobs
        store.close()
        admin.execute_command("ACL", "DELUSER", "hosted")

    assert (found["server"], found["persistence"], found["memory"]) == ("warning", "warning", "ok")
    assert jobs["finished"] == 0


@pytest.mark.parametrize(
    "own_server",
    [{"appendonly": "no", "maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}],
    indirect=True,
)
def test_a_real_server_is_asked(own_server: Any) -> None:
    store = Store.connect(own_server.url)

    found = states(*store.ping())

    store.close()
    assert (found["persistence"], found["eviction"]) == ("warning", "fault")
