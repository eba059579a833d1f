"""Celery on the transport: real workers with only ``broker_transport`` configured."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
import redis
from celery import chord, group
from celery.exceptions import TaskRevokedError
from kombu import pools

from ..support.cluster import Cluster
from ..support.processes import Process
from ..support.servers import IS_CLUSTER

HERE = Path(__file__).parent
LIMIT_SECONDS = 20


class Fleet:
    """A Celery application on one server, and its workers; *broker* is another address for its messages."""

    def __init__(
        self, url: str, folder: Path, stack: ExitStack, *, broker: str | None = None, spread: int | None = None
    ) -> None:
        self.redis = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))
        self.env = {
            "CELERY_BROKER": broker or url,
            "CELERY_RESULTS": url if IS_CLUSTER else url.removesuffix("0") + "1",
            "PYTHONPATH": str(HERE),
            **({"CELERY_SPREAD": f"{spread}"} if spread else {}),
        }
        self.place = folder / "notes"
        self.tasks = _load(self.env)
        stack.callback(pools.reset)
        stack.callback(self.tasks.app.close)
        stack.callback(self.tasks.app.backend.client.close)
        self._folder = folder
        self._stack = stack
        self._count = 0

    def start(self, pool: str = "solo", *, concurrency: int = 1, wait: bool = True, **env: str) -> Process:
        self._count += 1
        name = f"w{self._count}@here"
        options = ["--pool", pool, "--concurrency", str(concurrency), "--hostname", name, "--loglevel", "info"]
        command = [sys.executable, "-W", "ignore", "-m", "celery", "--app", "celery_app", "worker", *options]
        log = self._folder / f"worker-{self._count}.log"
        worker = Process(command, self._folder, {**self.env, **env}, log=log)
        self._stack.callback(worker.kill)
        if wait:
            self.until(lambda: self.tasks.app.control.ping([name], timeout=0.3))
        return worker

    def notes(self) -> list[str]:
        return self.place.read_text().splitlines() if self.place.exists() else []

    def until(self, done: Callable[[], Any]) -> Any:
        deadline = monotonic() + LIMIT_SECONDS
        while not (answer := done()):
            assert monotonic() < deadline, "it did not come to that in time"
            self.redis.wait(1, 20)
        return answer


def _load(env: dict[str, str]) -> Any:
    """Load a new copy of the application for this process."""
    with _environment(env):
        spec = importlib.util.spec_from_file_location("celery_app", HERE / "celery_app.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@contextmanager
def _environment(env: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def fleet(redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(redis_url, tmp_path, stack)


@pytest.mark.skipif(IS_CLUSTER, reason="Celery's result backend keeps a chord in several slots")
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_runs_tasks_chains_groups_and_chords(fleet: Fleet, pool: str) -> None:
    fleet.start(pool, concurrency=2, wait=False)
    add, late, total = fleet.tasks.add, fleet.tasks.late, fleet.tasks.total

    assert add.delay(1, 2).get(timeout=LIMIT_SECONDS) == 3
    assert late.delay(7).get(timeout=5) == 7
    assert (add.s(1, 2) | add.s(3) | late.s()).delay().get(timeout=5) == 6
    assert group(add.s(n, n) for n in range(5)).delay().get(timeout=5) == [0, 2, 4, 6, 8]
    assert chord((add.s(n, n) for n in range(5)), total.s()).delay().get(timeout=5) == 20
    fleet.until(lambda: fleet.redis.xlen("{avt.g0}:q:celery:0") == 0)


@pytest.mark.skipif(IS_CLUSTER, reason="Celery's result backend keeps a chord in several slots")
@pytest.mark.parametrize("spread", [None, 16])
def test_a_chord_runs_on_a_cluster(
    redis_url: str, make_server: Callable[..., Any], tmp_path: Path, spread: int | None
) -> None:
    cluster = Cluster(make_server, primaries=3)
    with ExitStack() as stack:
        fleet = Fleet(redis_url, tmp_path, stack, broker=cluster.kombu_url, spread=spread)
        fleet.start("threads", concurrency=2)
        add, late, total = fleet.tasks.add, fleet.tasks.late, fleet.tasks.total

        ended = chord((add.s(n, n) for n in range(5)), total.s()).delay().get(timeout=LIMIT_SECONDS)
        delayed = late.delay(7).get(timeout=LIMIT_SECONDS)

        assert (ended, delayed) == (20, 7)
        assert not fleet.redis.exists("{avt.g0}:queues")


@pytest.mark.faults
def test_a_countdown_is_kept(fleet: Fleet) -> None:
    fleet.start()
    due = time() + 0.5

    began = fleet.tasks.now.apply_async(countdown=0.5).get(timeout=15)

    assert due - 0.05 <= began < due + 5


def test_higher_priorities_run_first(fleet: Fleet) -> None:
    for priority in (0, 9, 3, 9, 5, 0):
        fleet.tasks.note.apply_async((str(fleet.place), str(priority)), priority=priority)

    fleet.start(wait=False)

    assert fleet.until(lambda: len(fleet.notes()) == 6)
    assert fleet.notes() == ["9", "9", "5", "3", "0", "0"]


@pytest.mark.faults
def test_control_reaches_a_worker_and_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.start("threads", concurrency=2)
    running = fleet.tasks.work.delay(str(fleet.place), 1)
    fleet.until(fleet.notes)
    inspect = fleet.tasks.app.control.inspect(["w1@here"], timeout=5)

    assert inspect.ping() == {"w1@here": {"ok": "pong"}}
    assert "celery_app.add" in inspect.registered()["w1@here"]
    assert [task["id"] for task in inspect.active()["w1@here"]] == [running.id]
    running.get(timeout=5)
    assert not [queue for queue in fleet.redis.hkeys("{avt.g0}:queues") if "reply" in queue]


@pytest.mark.faults
def test_a_task_is_revoked_while_it_waits_for_its_eta(fleet: Fleet) -> None:
    fleet.start("threads")
    inspect = fleet.tasks.app.control.inspect(["w1@here"], timeout=5)
    result = fleet.tasks.add.apply_async((1, 2), countdown=1)
    fleet.until(lambda: inspect.scheduled()["w1@here"])

    result.revoke()

    with pytest.raises(TaskRevokedError):
        result.get(timeout=5)
    fleet.until(lambda: fleet.redis.xlen("{avt.g0}:q:celery:0") == 0)


def test_an_expired_task_never_runs(fleet: Fleet) -> None:
    fleet.tasks.note.apply_async((str(fleet.place), "late"), expires=0.01)
    fleet.redis.wait(1, 20)

    fleet.start(wait=False)
    fleet.tasks.note.delay(str(fleet.place), "in time")

    assert fleet.until(fleet.notes) == ["in time"]


@pytest.mark.faults
def test_the_task_of_a_killed_worker_is_redelivered_after_the_lease(fleet: Fleet) -> None:
    killed = fleet.start("prefork")
    result = fleet.tasks.work.delay(str(fleet.place), 0.5)
    fleet.until(fleet.notes)

    killed.kill()
    fleet.start()

    ran_in = result.get(timeout=LIMIT_SECONDS)
    assert fleet.notes()[1:] == [f"begin {ran_in}", f"end {ran_in}"]


@pytest.mark.faults
def test_sigterm_stops_a_worker_after_its_task(fleet: Fleet) -> None:
    stopped = fleet.start("prefork")
    fleet.start("solo")
    fleet.tasks.app.control.cancel_consumer("celery", destination=["w2@here"], reply=True)
    result = fleet.tasks.work.delay(str(fleet.place), 3)  # longer than the lease
    fleet.until(fleet.notes)
    fleet.tasks.app.control.add_consumer("celery", destination=["w2@here"], reply=True)

    stopped.send_signal(signal.SIGTERM)

    assert stopped.process.wait(timeout=15) == 0
    ran_in = result.get(timeout=1)
    assert fleet.notes() == [f"begin {ran_in}", f"end {ran_in}"]
    assert fleet.redis.xlen("{avt.g0}:q:celery:0") == 0


def test_a_busy_worker_answers_control_commands(fleet: Fleet) -> None:
    fleet.start("prefork", CELERY_PREFETCH="4")
    work, control = fleet.tasks.work, fleet.tasks.app.control
    running, *_ = [work.delay(str(fleet.place), 60) for _ in range(3)]
    fleet.until(fleet.notes)

    assert control.ping(["w1@here"], timeout=5)
    assert len(control.inspect(["w1@here"], timeout=5).reserved()["w1@here"]) >= 1
    control.revoke(running.id, terminate=True)

    fleet.until(lambda: len(fleet.notes()) == 2)
    assert all(note.startswith("begin") for note in fleet.notes())


@pytest.mark.faults
def test_a_stopped_worker_requeues_tasks_it_has_not_started(fleet: Fleet) -> None:
    """Reserved tasks and one waiting for its eta: another worker receives them immediately."""
    stopped = fleet.start("prefork", CELERY_PREFETCH="10")
    work, note = fleet.tasks.work, fleet.tasks.note
    first, *_ = [work.delay(str(fleet.place), 1) for _ in range(2)]
    note.apply_async((str(fleet.place), "due"), countdown=2)
    fleet.until(fleet.notes)
    fleet.until(lambda: fleet.tasks.app.control.inspect(["w1@here"], timeout=5).scheduled()["w1@here"])

    stopped.send_signal(signal.SIGTERM)

    assert stopped.process.wait(timeout=15) == 0
    assert first.ready()
    assert len(fleet.notes()) == 2
    fleet.start("solo", wait=False)
    fleet.until(lambda: len(fleet.notes()) == 5)
    fleet.until(lambda: fleet.redis.xlen("{avt.g0}:q:celery:0") == 0)
    assert "due" in fleet.notes()


@pytest.mark.faults
def test_a_task_waiting_for_its_eta_survives_any_number_of_deploys(fleet: Fleet) -> None:
    fleet.tasks.note.apply_async((str(fleet.place), "due"), countdown=3600)
    for number in range(1, 8):
        worker = fleet.start("solo")
        inspect = fleet.tasks.app.control.inspect([f"w{number}@here"], timeout=5)
        fleet.until(lambda asked=inspect.scheduled: list(asked().values()) != [[]])
        assert worker.end(within_seconds=15) == 0

    [(_, fields)] = fleet.redis.xrange("{avt.g0}:q:celery:0")
    assert "n" not in fields
    assert not fleet.redis.exists("{avt.g0}:q:celery:dead")


@pytest.mark.faults
def test_commands_are_not_kept_for_a_later_worker(fleet: Fleet) -> None:
    killed = fleet.start("solo")
    killed.kill()
    fleet.tasks.app.control.shutdown()

    fleet._count = 0  # the same name again
    later = fleet.start("solo")

    assert fleet.tasks.add.delay(1, 2).get(timeout=LIMIT_SECONDS) == 3
    assert later.is_running


@pytest.mark.faults
def test_worker_and_producer_recover_after_a_flush(fleet: Fleet) -> None:
    fleet.start("solo")
    assert fleet.tasks.add.delay(1, 2).get(timeout=LIMIT_SECONDS) == 3
    fleet.redis.flushall()

    assert fleet.tasks.add.delay(2, 2).get(timeout=LIMIT_SECONDS) == 4
    fleet.until(lambda: fleet.tasks.app.control.ping(["w1@here"], timeout=0.5))


@pytest.mark.faults
def test_an_expired_task_ends_as_revoked(fleet: Fleet) -> None:
    fleet.start("solo")
    fleet.tasks.work.delay(str(fleet.place), 1)

    with pytest.raises(TaskRevokedError):
        fleet.tasks.add.apply_async((1, 2), expires=0.1).get(timeout=LIMIT_SECONDS)


@pytest.mark.faults
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_without_prefetch_a_busy_worker_reserves_nothing(fleet: Fleet, pool: str) -> None:
    fleet.start(pool, CELERY_DISABLE_PREFETCH="1", CELERY_PREFETCH="4")
    fleet.tasks.work.delay(str(fleet.place), 60)
    fleet.until(fleet.notes)
    results = [fleet.tasks.add.delay(n, n) for n in range(3)]
    fleet.start("solo")

    assert [result.get(timeout=LIMIT_SECONDS) for result in results] == [0, 2, 4]


@pytest.mark.faults
def test_a_task_that_blocks_a_gevent_pool_longer_than_a_lease_runs_once(fleet: Fleet) -> None:
    pytest.importorskip("gevent")
    fleet.start("gevent", concurrency=10)
    fleet.start("solo")
    fleet.tasks.app.control.cancel_consumer("celery", destination=["w2@here"], reply=True)
    blocking = fleet.tasks.block.delay(str(fleet.place), 6)  # three leases
    fleet.until(fleet.notes)
    fleet.tasks.app.control.add_consumer("celery", destination=["w2@here"], reply=True)

    blocking.get(timeout=LIMIT_SECONDS)

    assert fleet.notes() == ["begin"]
    fleet.until(lambda: fleet.redis.xlen("{avt.g0}:q:celery:0") == 0)
