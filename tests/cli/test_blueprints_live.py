"""``blueprints check --live`` and ``blueprints plan``: a changed blueprint against jobs and queues of the old one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from avtomatika import broker
from avtomatika.broker import Outgoing
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.plan import Plan
from avtomatika.loading import load_blueprints
from avtomatika.store import NewJob, Store

from ..support.cli import GREETINGS, Done, Run

#: The same with a state of another name in the place of ``done``.
CHANGED = GREETINGS.replace("def done", "def greeted").replace('"success": "done"', '"success": "greeted"')


class Old:
    """The routing of the old blueprint on a server, and jobs of it."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.url = url
        self.plan = plan
        self.connection = broker.connect(url)
        broker.declare(self.connection, [plan])
        self.store = Store.connect(url)

    def create(self) -> str:
        return self.store.create(NewJob(plan=self.plan, client="me", initial_data={"name": "Ada"})).job_id

    def take_all(self) -> None:
        """Have nothing left in the queue."""
        with self.connection.channel() as channel:
            channel.queue_purge(self.plan.main_queue)

    def queues(self) -> set[str]:
        with self.connection.channel() as channel:
            return set(channel.topology.queues())

    def close(self) -> None:
        self.store.close()
        self.connection.release()


@pytest.fixture
def old(redis_url: str, project: Path) -> Iterator[Old]:
    (blueprint,) = load_blueprints(str(project / "blueprints"))
    made = Old(redis_url, blueprint.plan)
    yield made
    made.close()


@pytest.fixture
def asked(run: Run, project: Path, redis_url: str) -> Any:
    """Ask about the changed blueprint: ``asked("plan", "--json")``."""
    (project / "new").mkdir()
    (project / "new" / "greetings.py").write_text(CHANGED)

    def ask(*words: str) -> Done:
        return run("blueprints", *words, REDIS_URL=redis_url, BLUEPRINTS="new/")

    return ask


def move_to(store: Store, job_id: str, state: str) -> None:
    """Put a job into *state*."""
    key = store._keys.job(job_id)
    doc = orjson.loads(store._server.execute(("HGET", key, "doc")))
    doc["state"] = state
    store._server.execute(("HSET", key, "doc", orjson.dumps(doc), "status", JobStatus.WAITING_FOR_WORKER))


class TestCheck:
    def test_passes_if_jobs_can_continue(self, old: Old, asked: Any) -> None:
        old.create()

        done = asked("check", "--live")

        assert done.code == 0
        assert "1 jobs of earlier plans: all can continue" in done.stdout

    def test_reports_what_is_missing_and_for_which_jobs(self, old: Old, asked: Any) -> None:
        jobs = [old.create() for _ in range(5)]
        for job_id in jobs[:4]:
            move_to(old.store, job_id, "done")

        table, plain = asked("check", "--live"), asked("check", "--live", "--json")

        [row] = json.loads(plain.stdout)
        assert (table.code, plain.code) == (1, 1)
        assert (row["blueprint"], row["missing"], row["jobs"]) == ("greetings", "state 'done'", 4)
        assert (set(row["ids"]), row["plans"]) == (set(jobs[:4]), [old.plan.plan_hash])
        assert "state 'done'" in table.stdout
        assert "and 2 more" in table.stdout

    def test_counts_the_jobs_that_need_a_retired_state(self, old: Old, asked: Any, project: Path) -> None:
        kept = CHANGED + '\n\n@bp.handler("done", is_end=True, retired=True)\ndef done(): ...\n'
        (project / "new" / "greetings.py").write_text(kept)
        before = asked("check", "--live")
        move_to(old.store, old.create(), "done")

        done = asked("check", "--live")

        assert "retired state 'done': no job needs it, its handler can be removed" in before.stdout
        assert done.code == 0
        assert "1 jobs of earlier plans: all can continue" in done.stdout
        assert "greetings: retired state 'done': 1 jobs still need it" in done.stdout
        [row] = json.loads(asked("check", "--live", "--json").stdout)
        assert (row["retired"], row["missing"], row["jobs"]) == ("done", None, 1)

    def test_names_an_unreachable_server(self, run: Run) -> None:
        done = run("blueprints", "check", "--live", REDIS_URL="redis://127.0.0.1:1/0")

        assert done.code == 3


class TestPlan:
    def test_shows_changes_without_applying_them(self, old: Old, asked: Any) -> None:
        before = old.queues()

        done = asked("plan", "--json")

        changes = {each["queue"]: each for each in json.loads(done.stdout)["queues"]}
        assert done.code == 0
        assert changes[old.plan.main_queue]["change"] == "remove"
        assert len(changes[old.plan.main_queue]["removed"]) == len(old.plan.bindings)
        [new] = [each for queue, each in changes.items() if each["change"] == "add" and queue.startswith("steps.")]
        assert ["avt.steps", new["queue"].removeprefix("steps.") + ".start.success"] in new["added"]
        assert changes["greet"]["change"] == "same"
        assert old.queues() == before

    def test_applies_changes_on_request(self, old: Old, asked: Any) -> None:
        assert asked("plan", "--apply").code == 0

        [there] = [queue for queue in old.queues() if queue.startswith("steps.")]
        again = {each["change"] for each in json.loads(asked("plan", "--json").stdout)["queues"]}
        assert there != old.plan.main_queue
        assert again == {"same"}

    def test_keeps_queues_that_hold_messages(self, old: Old, asked: Any) -> None:
        with old.connection.channel() as channel:
            channel.settle([Outgoing("avt.steps", old.plan.key("start", "_start"), "{}")], ())

        done = asked("plan", "--apply")

        assert done.code == 1
        assert "it holds 1 messages" in done.stdout
        assert old.plan.main_queue in old.queues()

    def test_keeps_queues_that_jobs_need(self, old: Old, asked: Any) -> None:
        old.create()
        old.take_all()

        done = asked("plan", "--apply")

        assert done.code == 1
        assert "1 jobs need it" in done.stdout
        assert old.plan.main_queue in old.queues()

    def test_keeps_queues_that_an_orchestrator_serves(self, old: Old, asked: Any) -> None:
        old.store.plans.announce([f"greetings@{old.plan.plan_hash}"])

        done = asked("plan", "greetings", "--apply")

        assert done.code == 1
        assert "an orchestrator serves it" in done.stdout

    def test_shows_a_missing_binding(self, old: Old, run: Run, redis_url: str) -> None:
        with old.connection.channel() as channel:
            channel.queue_unbind(old.plan.main_queue, "avt.steps", old.plan.key("start", "success"))

        done = run("blueprints", "plan", REDIS_URL=redis_url)

        [line] = [line for line in done.stdout.splitlines() if old.plan.main_queue in line]
        assert line.split() == ["~", "change", old.plan.main_queue, "0", "+1"]


def test_an_ended_job_needs_nothing(old: Old, asked: Any) -> None:
    job_id = old.create()
    old.take_all()
    key = old.store._keys.job(job_id)
    old.store._server.execute(("ZREM", old.store._keys.by_status("pending"), job_id))
    old.store._server.execute(("HSET", key, "status", "cancelled"))
    job: Job | None = old.store.load(job_id)

    assert job is not None
    assert job.status.is_final
    assert asked("plan", "--apply").code == 0


def test_the_graph_shows_live_jobs(old: Old, run: Run, redis_url: str) -> None:
    old.create()

    done = run("blueprints", "graph", "greetings", "--live", REDIS_URL=redis_url)

    assert done.code == 0
    assert "1 jobs, figures of the last 0 that are over" in done.stdout
    assert r"start\ntask: greet\n1 job" in done.stdout
