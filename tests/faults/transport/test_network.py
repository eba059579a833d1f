"""Network faults: lost replies, resets, one-way silence, refused connections. Nothing confirmed is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from urllib.parse import urlsplit

import pytest

from ...support.scale import SCALE, SEED
from ...support.tcp_proxy import TcpProxy
from .traffic import SOCKET_TIMEOUT_SECONDS, Scene, under_way

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60 + 60 * SCALE)]

STORM_SECONDS = 3 * SCALE
PUBLISH_LIMIT_SECONDS = 3 * SOCKET_TIMEOUT_SECONDS + 1

Fault = Callable[[TcpProxy], None]


@contextmanager
def through_a_proxy(url: str, folder: Path) -> Iterator[tuple[Scene, TcpProxy]]:
    parts = urlsplit(url)
    with TcpProxy(parts.port or 0, seed=SEED) as proxy:
        way = parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        # Longer than the silence: a consumer that cannot renew loses its lease.
        with under_way(url, folder, way=way, lease_seconds=3 + STORM_SECONDS) as scene:
            yield scene, proxy


def swallow(proxy: TcpProxy) -> None:
    proxy.swallow_chance = 0.01


def reset(proxy: TcpProxy) -> None:
    proxy.reset_chance = 0.01


def slow_down(proxy: TcpProxy) -> None:
    proxy.latency_seconds = 0.025


def silence_answers(proxy: TcpProxy) -> None:
    proxy.silent = "down"


def silence_questions(proxy: TcpProxy) -> None:
    proxy.silent = "up"


def refuse(proxy: TcpProxy) -> None:
    proxy.refuse()


def heal(proxy: TcpProxy, fault: Fault) -> None:
    proxy.swallow_chance = proxy.reset_chance = proxy.latency_seconds = 0.0
    proxy.silent = None
    if fault is refuse:
        proxy.accept()


@pytest.mark.parametrize("fault", [swallow, reset, slow_down, silence_answers, silence_questions, refuse])
def test_nothing_confirmed_is_lost_on_a_faulty_network(redis_url: str, tmp_path: Path, fault: Fault) -> None:
    with through_a_proxy(redis_url, tmp_path) as (scene, proxy):
        print(f"FAULTS_SEED={SEED}")
        fault(proxy)
        sleep(STORM_SECONDS)
        heal(proxy, fault)
        scene.goes_on()
        scene.end()
        scene.tell(fault.__name__)

        assert scene.lost == []
        assert scene.traffic.longest_seconds < PUBLISH_LIMIT_SECONDS
        assert bool(scene.traffic.errors) == (fault is not slow_down)
