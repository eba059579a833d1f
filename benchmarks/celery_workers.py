"""Celery workers under measurement."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from lap import read
from processes import running

HERE = Path(__file__).parent


def load_app(env: dict[str, str]) -> ModuleType:
    """The application as this process uses it, set up by *env*."""
    os.environ |= env
    sys.modules.pop("celery_app", None)
    return importlib.import_module("celery_app")


def worker_env(url: str, transport: str) -> dict[str, str]:
    return {"CELERY_BROKER": url, "CELERY_TRANSPORT": transport, "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}


def worker_command(pool: str) -> tuple[str, ...]:
    options = ("--pool", pool, "--concurrency", "1", "--loglevel", "error")
    return ("celery", "--quiet", "--app", "celery_app", "worker", *options)


def drain_seconds(url: str, transport: str, tasks: int) -> tuple[float, float]:
    """Wall and CPU seconds that a solo worker takes for *tasks* no-op tasks, all of them waiting when it begins."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "lap.json"
        env = worker_env(url, transport) | {"CELERY_TASKS": str(tasks), "CELERY_LAP": str(place)}
        app = load_app(env)
        for _ in range(tasks):
            app.noop.delay()
        app.app.close()
        with running(*worker_command("solo"), env=env):
            wall, cpu = read(place)
    return wall, cpu
