from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import redis

from .house import House

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def house(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One installation for all attacks of a module: it must withstand them all."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    folder: Path = tmp_path_factory.mktemp("house")
    house = House(server.url, folder)
    try:
        house.start()
        yield house
    finally:
        house.close()
