from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avtomatika.store import Store, check_server
from avtomatika.store.server_info import ServerInfo

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
        ({"kind": "Redis", "version": "6.2.14"}, "server", "fault"),
        ({"kind": "Redis", "version": "7.0.0"}, "server", "ok"),
    ],
)
def test_what_is_not_sound_is_named(change: dict[str, Any], subject: str, state: str) -> None:
    assert states(replace(SOUND, **change))[subject] == state


@pytest.mark.parametrize(
    "own_server",
    [{"appendonly": "no", "maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}],
    indirect=True,
)
def test_a_real_server_is_asked(own_server: Any) -> None:
    store = Store.connect(own_server.url)

    found = states(store.ping())

    store.close()
    assert (found["persistence"], found["eviction"]) == ("warning", "fault")
