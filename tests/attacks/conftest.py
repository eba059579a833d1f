from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis

from .installation import Installation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def installation(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all attacks of a module: it must withstand them all."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    folder: Path = tmp_path_factory.mktemp("installation")
    installation = Installation(server.url, folder)
    try:
        installation.start()
        yield installation
    finally:
        installation.close()
