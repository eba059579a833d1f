"""The public package ``avtomatika`` with one blueprint, for ``http_api.py``; runs where ``make peers`` installs it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != Path(__file__).parent.parent]

from redis.asyncio import Redis  # noqa: E402

from avtomatika import Blueprint, OrchestratorEngine  # type: ignore[attr-defined] # noqa: E402
from avtomatika.config import Config  # type: ignore[import-not-found] # noqa: E402
from avtomatika.storage.redis import RedisStorage  # type: ignore[import-not-found] # noqa: E402

bp = Blueprint(name="one", api_version="v1", api_endpoint="/jobs/one")


@bp.handler(is_start=True)
async def first(actions: Any) -> None:
    actions.dispatch_task("echo", {"n": 1}, transitions={"success": "done", "failure": "done"})


@bp.handler(is_end=True)
async def done() -> None: ...


async def main() -> None:
    engine = OrchestratorEngine(RedisStorage(Redis(port=int(os.environ["REDIS_PORT"]))), Config())
    engine.register_blueprint(bp)
    await engine.start()
    await asyncio.Event().wait()


asyncio.run(main())
