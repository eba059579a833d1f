"""A stopping worker drains running tasks and requeues the others, and loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from avtomatika.schemas import wire

from ..support.processes import Process
from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office, task
from ..support.web import WebServer
from ..support.workers import wait_until_begun

TASKS = 20


@pytest.fixture
def address(request: pytest.FixtureRequest, redis_url: str, make_web: Callable[..., WebServer]) -> str:
    """The worker's orchestrator."""
    if request.param == "redis":
        return redis_url
    return f"http://{make_web(redis_url, WORKER_TOKEN='the-workers-token').address}"


@pytest.mark.parametrize(
    ("address", "pool"), [("redis", "thread"), ("redis", "process"), ("http", "thread")], indirect=["address"]
)
def test_a_drain_answers_short_tasks_and_requeues_long_ones(
    address: str, pool: str, office: Office, make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    worker = make_worker(
        ORCHESTRATOR_URL=address,
        WORKER_TOKEN="the-workers-token",
        WORKER_POOL=pool,
        WORKER_CONCURRENCY=str(TASKS),
        WORKER_DRAIN_TIMEOUT="2",
    )
    gates = [tmp_path / f"gate-{number}" for number in range(TASKS)]
    office.give(*[{"gate": str(gate), "by": number} for number, gate in enumerate(gates)])
    for gate in gates:
        wait_until_begun(gate)

    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for_log("waiting for running tasks")
    office.give_text(wire.dump_task(task(TASKS, {"by": "too late"})))
    for gate in gates[::2]:
        gate.touch()
    answered = office.results(TASKS // 2)
    code = worker.process.wait(DEADLINE_SECONDS)
    ended = monotonic()
    back = office.take("work", TASKS // 2 + 1)

    assert code == 0
    assert [result.data["by"] for result in answered] == list(range(0, TASKS, 2))
    assert {delivery.deliveries for delivery in back} == {1}
    assert monotonic() - ended < 10, "it does not wait for the leases"
    assert office.depth("work") == 0
    assert "Traceback" not in worker.log
