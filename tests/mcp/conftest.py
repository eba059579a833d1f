"""An installation with blueprints and skills, and agents: clients of the SDK that talk to ``avtomatika mcp``."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ..support.cli import Up
from ..support.ports import free_port
from ..support.processes import AVTOMATIKA, REPOSITORY, Process

if find_spec("mcp") is None:
    collect_ignore_glob = ["test_*.py"]  # the extra mcp is not installed
else:
    from mcp import Client, StdioServerParameters

T = TypeVar("T")
#: The token of all workers.
WORKERS = "token-of-the-workers-of-agents"
ALICE, OPERATOR = "token-of-alice-who-is-no-operator", "token-of-an-operator-of-agents"
BLUEPRINTS = """
from dataclasses import dataclass
from avtomatika import Blueprint

@dataclass
class Order:
    item: str
    count: int = 1

@dataclass
class Refund:
    amount: int

bp = Blueprint(name="order", api_endpoint="jobs/order", input=Order)

@bp.handler(is_start=True)
def check(initial_data, actions):
    "Order an item. A person decides about more than ten."
    if initial_data["count"] > 10:
        transitions = {"approved": "done", "rejected": "refuse"}
        actions.await_human_approval("cli", "Really?", transitions, form=Refund)
    else:
        actions.dispatch_task("pack", {"count": initial_data["count"]}, transitions={"success": "done"})

@bp.handler(is_end=True)
def done(initial_data, job_data):
    return {"item": initial_data["item"]}

@bp.handler(is_end="failed")
def refuse():
    return {"reason": "refused"}

untyped = Blueprint(name="untyped", api_endpoint="jobs/untyped")

@untyped.handler(is_start=True, is_end=True)
def only():
    return "done"

paid = Blueprint(name="why", api_endpoint="jobs/why", input=Refund)

@paid.handler(is_start=True)
def ask(actions):
    actions.wait_for("paid", schema=Refund, transitions={"received": "end"})

@paid.handler(is_end=True)
def end(signal_data):
    return signal_data
"""
WORKER = """
import asyncio
from avtomatika import PermanentError, Worker

worker = Worker()

@worker.skill()
async def pack(count: int, progress):
    "Pack a parcel."
    progress(0.5, "half of it")
    await asyncio.sleep(0 if count < 5 else 600)
    return {"parcel": count}

@worker.skill()
async def sleep(seconds: float):
    await asyncio.sleep(seconds)
    return {"slept": seconds}

@worker.skill()
def fail(text: str):
    raise PermanentError(text)

@worker.skill()
def no_types(params):
    return {}
"""

Agent = Callable[..., Any]


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``avtomatika up`` with the blueprints and the worker above."""
    folder = tmp_path_factory.mktemp("agents")
    (folder / "blueprints").mkdir()
    (folder / "blueprints" / "all.py").write_text(BLUEPRINTS)
    (folder / "worker.py").write_text(WORKER)
    (folder / "clients.toml").write_text(f'[alice]\ntoken = "{ALICE}"\n')
    (folder / "clients.toml").chmod(0o600)
    started = Up(folder, CLIENT_TOKEN=OPERATOR, WORKER_TOKEN=WORKERS)
    try:
        started.wait_until(lambda: "avtomatika is up" in started.log or not started.is_running, 90)
        yield started.wait_until_ready()
    finally:
        started.kill()


@pytest.fixture(scope="session")
def address(up: Up) -> Iterator[str]:
    """The URL of an ``avtomatika mcp --http --allow-write``."""
    port = free_port()
    command = (*AVTOMATIKA, "mcp", "--http", f"127.0.0.1:{port}", "--allow-write")
    environment = {"AVTOMATIKA_URL": up.url, "CLIENT_TOKEN": OPERATOR}
    process = Process(command, up.folder, environment, log=up.folder / "mcp.log")
    process.wait_until(lambda: answers(port), 90)
    yield f"http://127.0.0.1:{port}/mcp"
    assert process.is_running, process.log
    process.kill()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture(params=["auto", "legacy"])
def protocol(request: pytest.FixtureRequest) -> str:
    """The protocol with requests that stand alone, and the older ones with sessions."""
    return str(request.param)


@pytest.fixture
def agent(address: str, protocol: str) -> Agent:
    """Return a client over HTTP: ``async with agent() as client``."""
    return lambda: Client(address, mode=protocol)


@pytest.fixture
def local_agent(up: Up, protocol: str) -> Agent:
    """The same over stdio, with options of the command: ``async with local_agent("--allow-write") as client``."""
    return lambda *options, **more: Client(server(up, *options, **more), mode=protocol)


def server(up: Up, *options: str, token: str = OPERATOR, url: str | None = None) -> StdioServerParameters:
    """``avtomatika mcp`` as clients start it."""
    environment = {"PYTHONPATH": str(REPOSITORY), "AVTOMATIKA_URL": url or up.url, "CLIENT_TOKEN": token}
    arguments = ["-m", "avtomatika.cli", "mcp", *options]
    return StdioServerParameters(command=sys.executable, args=arguments, env=environment, cwd=Path("/"))


def run(use: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function within a minute and a half."""
    return asyncio.run(asyncio.wait_for(use(), 90))
