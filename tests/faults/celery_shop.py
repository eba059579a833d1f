"""A stock Celery application. ``runs`` in its folder records each run."""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep

from celery import Celery

app = Celery("celery_shop", broker=os.environ["CELERY_BROKER"], backend="rpc://")
app.conf.broker_transport = "avtomatika.transport:Transport"
app.conf.broker_transport_options = {"lease_seconds": 2, "sweep_interval_seconds": 0.2}
app.conf.broker_connection_retry_on_startup = True


@app.task(name="shop.resize", acks_late=True)
def resize(image: str, seconds: float = 0.0) -> str:
    with Path("runs").open("a") as runs:
        runs.write(f"{image}\n")
    if image == "broken":
        raise ValueError("no image")
    sleep(seconds)
    return f"{image}@320"
