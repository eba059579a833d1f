"""A bank: transfers of one account, three at a time. The skill counts in Redis what runs, by worker."""

from __future__ import annotations

import os
from time import sleep
from typing import Any

import redis

from avtomatika import Blueprint, Worker

bp = Blueprint(name="bank", api_endpoint="jobs/bank")
worker = Worker(worker_type="bank")

#: Hash: worker -> its running transfers; sorted set: the most that ran at once.
RUNNING, MOST = "bank:running", "bank:most"


@bp.handler(is_start=True)
@bp.limit(key="acct-{initial_data[account]}", concurrency=3)
def transfer(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("move", {"seconds": initial_data["seconds"]}, transitions={"success": "done"})


@bp.handler(is_end=True)
def done() -> None: ...


@worker.skill()
def move(seconds: float) -> None:
    name = os.environ["WORKER_ID"]
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as server:
        server.hincrby(RUNNING, name, 1)
        server.zadd(MOST, {"most": sum(map(int, server.hvals(RUNNING)))}, gt=True)
        sleep(seconds)
        server.hincrby(RUNNING, name, -1)
