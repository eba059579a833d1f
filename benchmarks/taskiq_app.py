"""The taskiq application of the benchmarks, in its own environment: tasks and results on Redis."""

from __future__ import annotations

import os

from lap import Waits
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

url = os.environ["TASKIQ_URL"]
broker = ListQueueBroker(url).with_result_backend(RedisAsyncResultBackend(os.environ["TASKIQ_RESULTS"]))
waits = Waits()


@broker.task
async def echo(n: int) -> int:
    return n


@broker.task
async def clock(sent_ns: int, is_last: bool) -> None:
    waits.add(sent_ns, is_last)
