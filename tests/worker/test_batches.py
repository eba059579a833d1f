"""Skills with batches: in a thread, in child processes, in the event loop, and in worker processes over both links."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from avtomatika import InvalidInputError, PermanentError, Worker
from avtomatika.client import Client
from avtomatika.core.events import Result
from avtomatika.errors import SkillError
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.processes import Child, ProcessExecutor, Zygote
from avtomatika.worker.runtime import Runtime
from avtomatika.worker.skill import Skill
from avtomatika.worker.task_stream import StreamLogHandler

from ..support.processes import Process
from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office
from ..support.waiting import wait_until
from ..support.web import TOKEN
from ..support.workers import WORKER_TOKEN, wait_until_begun

worker = Worker()
#: The kind of executor that runs the skill `work`, or `async_work`.
KINDS = ["thread", "process", "async"]


@dataclass
class Text:
    text: str
    n: int = 0
    act: str = ""
    gate: str = ""


def act(params: list[Text]) -> list[Any]:
    for each in params:
        if each.act == "raise":
            raise PermanentError("the whole batch")
        if each.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if each.act == "exit":
            raise SystemExit("enough")
    outcomes: list[Any] = [
        InvalidInputError(f"not {each.text}")
        if each.act == "invalid"
        else {"status": "needs_review", "data": {"n": each.n}}
        if each.act == "review"
        else {"n": each.n, "batch": [other.n for other in params]}
        for each in params
    ]
    return outcomes[1:] if any(each.act == "short" for each in params) else outcomes


@worker.skill(batch=4, max_wait=0.05)
def work(params: list[Text], contexts: list[Any]) -> list[Any]:
    for each, context in zip(params, contexts, strict=True):
        context.progress(0.5, each.text)
        context.stream.write(each.text)
        if each.gate:
            Path(f"{each.gate}.begun").touch()
            deadline = monotonic() + DEADLINE_SECONDS
            while not Path(each.gate).exists() and not context.cancelled() and monotonic() < deadline:
                sleep(0.01)
    return act(params)


@worker.skill(batch=4, max_wait=0.05)
async def async_work(params: list[Text], contexts: list[Any]) -> list[Any]:
    for each, context in zip(params, contexts, strict=True):
        context.progress(0.5, each.text)
        context.stream.write(each.text)
        if each.gate:
            await asyncio.to_thread(Path(f"{each.gate}.begun").touch)
            while not os.path.exists(each.gate):  # noqa: ASYNC110, ASYNC240 - another process makes it
                await asyncio.sleep(0.01)
    return act(params)


@worker.skill()
def plain(params: dict[str, Any]) -> dict[str, Any]:
    return params


class Rig:
    """A runtime whose batch skill runs in an executor of one *kind*."""

    def __init__(self, kind: str, folder: Path, *, concurrency: int = 2, skills: Any = None, **options: Any) -> None:
        self.skill = "async_work" if kind == "async" else "work"
        self.storage = TaskStorage(PayloadFolder(folder / "payloads"), config=None)
        skills = worker.skills if skills is None else skills
        self.processes = None
        if kind == "process":
            zygote = Zygote(Child(skills, worker_id="worker-1", storage=self.storage).work)
            self.processes = ProcessExecutor(zygote, max_children=concurrency, storage=self.storage)
        self.runtime = Runtime(
            skills,
            worker_id="worker-1",
            concurrency=concurrency,
            storage=self.storage,
            processes=self.processes,
            uses_processes=kind == "process",
            **options,
        )
        self.given = 0

    def give(self, *params: dict[str, Any], attempt: int = 1, skill: str | None = None) -> None:
        tasks = []
        for each in params:
            name = f"g0-{self.given}.a.0"
            tasks.append(
                (
                    TaskMessage(
                        f"g0-{self.given}",
                        name,
                        attempt,
                        skill or self.skill,
                        {"text": f"text {self.given}", "n": self.given} | each,
                        ("success",),
                        "avt.steps",
                        "video@0123abcd.a",
                    ),
                    self.given,
                )
            )
            self.given += 1
        self.runtime.submit(tasks)

    def ended(self, count: int) -> list[Result]:
        deadline = monotonic() + DEADLINE_SECONDS
        ended: list[TaskExecution] = []
        while len(ended) < count and monotonic() < deadline:
            ended += self.runtime.collect(0.1)
        found = [each.result for each in sorted(ended, key=lambda each: each.origin) if each.result is not None]
        assert len(found) == count
        return found

    def close(self) -> None:
        self.runtime.close()
        if self.processes is not None:
            self.processes.close()
        self.storage.close()


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    rigs: list[Rig] = []

    def make(kind: str, **options: Any) -> Rig:
        rigs.append(Rig(kind, tmp_path, **options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def code(result: Result) -> str | None:
    return None if result.error is None else str(result.error["code"])


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_run_in_full_batches_and_each_has_its_own_result(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind)
    rig.give(*[{}] * 6)

    results = rig.ended(6)

    assert [result.data["n"] for result in results] == list(range(6))
    assert [result.data["batch"] for result in results] == [[0, 1, 2, 3]] * 4 + [[4, 5]] * 2
    assert {result.worker_id for result in results} == {"worker-1"}
    assert rig.runtime.busy == rig.runtime.running == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_fails_alone(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind)
    rig.give({}, {"act": "invalid"}, {"text": 5}, {"act": "review"})

    good, returned, invalid, review = rig.ended(4)

    assert good.data == {"n": 0, "batch": [0, 1, 3]}
    assert returned.error == {"code": "INVALID_INPUT_ERROR", "message": "not text 1"}
    assert invalid.error is not None
    assert "params.text" in invalid.error["message"]
    assert (review.status, review.data) == ("needs_review", {"n": 3})


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_skill_raises_fails_all_and_a_wrong_length_says_so(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind)
    rig.give({}, {}, {"act": "raise"}, {})
    raised = rig.ended(4)
    rig.give({}, {"act": "short"}, {}, {})
    short = rig.ended(4)
    rig.give({"act": "exit"})
    [exited] = rig.ended(1)

    assert {(code(result), result.error["message"]) for result in raised if result.error} == {
        ("PERMANENT_ERROR", "the whole batch")
    }
    expected = "the skill must return a list of 4 results, one a task, but returned a list of length 3"
    assert {(code(result), result.error["message"]) for result in short if result.error} == {
        ("PERMANENT_ERROR", expected)
    }
    assert (len(raised), len(short), code(exited)) == (4, 4, "TRANSIENT_ERROR")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_task_is_dropped_and_the_others_are_answered(make_rig: MakeRig, kind: str, tmp_path: Path) -> None:
    rig, gate = make_rig(kind), tmp_path / "gate"
    rig.give({}, {"gate": str(gate)}, {}, {})
    wait_until(Path(f"{gate}.begun").exists, DEADLINE_SECONDS)

    rig.runtime.cancel(lambda execution: execution.origin == 2)
    gate.touch()

    results = rig.ended(4)
    assert [code(result) for result in results] == [None, None, "CANCELLED", None]
    assert results[3].data == {"n": 3, "batch": [0, 1, 2, 3]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_cancelled_tasks_is_stopped(make_rig: MakeRig, kind: str, tmp_path: Path) -> None:
    rig, gate = make_rig(kind), tmp_path / "never"
    rig.give({"gate": str(gate)}, {}, {}, {})
    wait_until(Path(f"{gate}.begun").exists, DEADLINE_SECONDS)

    rig.runtime.cancel(lambda execution: True)

    assert {code(result) for result in rig.ended(4)} == {"CANCELLED"}


@pytest.mark.parametrize("kind", ["process", "async"])
def test_a_time_limit_stops_a_batch(make_rig: MakeRig, kind: str, tmp_path: Path) -> None:
    rig = make_rig(kind, time_limit_seconds=0.2, kill_after_seconds=0.2)
    rig.give(*[{"gate": str(tmp_path / "never"), "act": "kill"}] * 2)

    results = rig.ended(2)

    assert {code(result) for result in results} == {"TRANSIENT_ERROR"}
    assert all(result.error and "time limit" in result.error["message"] for result in results)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_grow_while_as_many_run_as_may(make_rig: MakeRig, kind: str, tmp_path: Path) -> None:
    rig, gate = make_rig(kind, concurrency=1), tmp_path / "gate"
    rig.give({"gate": str(gate)})
    wait_until(Path(f"{gate}.begun").exists, DEADLINE_SECONDS)
    for _ in range(3):
        rig.give({})
        sleep(0.1)  # longer than they would wait for each other
    gate.touch()

    assert [result.data["batch"] for result in rig.ended(4)] == [[0], *[[1, 2, 3]] * 3]


def test_a_third_attempt_runs_alone(make_rig: MakeRig) -> None:
    rig = make_rig("thread", concurrency=4)
    rig.give({}, {})
    rig.give({}, {}, attempt=3)

    assert [result.data["batch"] for result in rig.ended(4)] == [[0, 1], [0, 1], [2], [3]]


def test_a_killed_process_fails_the_tasks_of_its_batch(make_rig: MakeRig) -> None:
    rig = make_rig("process")
    rig.give({}, {"act": "kill"}, {}, {})
    killed = rig.ended(4)
    rig.give({})

    assert {(code(result), result.error["message"]) for result in killed if result.error} == {
        ("TRANSIENT_ERROR", "the process of the skill was killed by SIGKILL (the system may have run out of memory)")
    }
    assert len(killed) == 4
    assert rig.ended(1)[0].status == "success"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_collected_is_withdrawn(make_rig: MakeRig, kind: str) -> None:
    slow = {name: replace(skill, max_wait_seconds=60) for name, skill in worker.skills.items() if skill.batch}
    rig = make_rig(kind, skills=slow)
    rig.give({}, {}, {})

    withdrawn = rig.runtime.withdraw(0)

    assert [execution.origin for execution in withdrawn] == [0, 1, 2]
    assert rig.runtime.busy == 0
    rig.give(*[{}] * 4)
    assert len(rig.ended(4)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_has_its_progress_and_its_stream(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind)
    rig.give({}, {})
    rig.ended(2)

    chunks = {each.task_id: [chunk[2] for chunk in each.chunks] for each in rig.runtime.streams.take(flush=True)}

    assert chunks == {"g0-0.a.0": ["text 0"], "g0-1.a.0": ["text 1"]}


def test_middleware_wraps_the_call_and_no_log_line_is_streamed(make_rig: MakeRig) -> None:
    ours, seen = Worker(), list[Any]()

    @ours.middleware
    def around(contexts: list[Any], call: Callable[[Any], Any]) -> Any:
        seen.append([(each.skill, each.params["n"], each.task_id) for each in contexts])
        return [each | {"seen": True} for each in call(contexts)]

    @ours.skill("work", batch=4)
    def work(params: list[Text]) -> list[Any]:
        import logging

        record = logging.makeLogRecord({"msg": "a secret of one of them"})
        StreamLogHandler().emit(record)
        return [{"n": each.n, "thread": threading.current_thread().name} for each in params]

    rig = make_rig("thread", skills=ours.skills)
    rig.give({}, {})

    results = rig.ended(2)

    assert [result.data for result in results] == [{"n": n, "thread": "skill-1", "seen": True} for n in (0, 1)]
    assert seen == [[("work", 0, "g0-0.a.0"), ("work", 1, "g0-1.a.0")]]
    assert rig.runtime.streams.take(flush=True) == []


def test_tasks_of_batches_use_their_share_of_the_capacity(make_rig: MakeRig, tmp_path: Path) -> None:
    batches = {name: skill for name, skill in worker.skills.items() if skill.batch}
    uniform, mixed = make_rig("async", skills=batches).runtime.capacity, make_rig("async").runtime.capacity
    rig = make_rig("async")
    rig.give(*[{"gate": str(tmp_path / "gate")}] * 5)
    in_flight = rig.runtime.in_flight

    assert (uniform.tasks, uniform.used(in_flight), uniform.prefetch(in_flight)) == (8, 5, 8)
    assert (mixed.tasks, mixed.used(in_flight), mixed.prefetch(in_flight)) == (2, 2, 5)
    (tmp_path / "gate").touch()
    rig.ended(5)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (
            lambda params, job_id: [],
            {"batch": 2},
            "so its parameters are params and contexts, not .'params', 'job_id'.",
        ),
        (lambda: [], {"batch": 2}, "not .."),
        (
            lambda params: [],
            {"batch": 0},
            "batch must be a whole number of at least 1, and max_wait 0 or .* not 0 and 0.05",
        ),
        (lambda params: [], {"batch": 2, "max_wait": -1}, "not 2 and -1"),
    ],
)
def test_a_skill_that_cannot_take_a_batch_is_refused(function: Any, options: Any, message: str) -> None:
    with pytest.raises(SkillError, match=message):
        Skill.of(function, "work", **options)


def test_the_annotation_of_a_batch_is_a_list() -> None:
    def one(params: Text) -> list[Any]: ...  # type: ignore[empty-body]

    with pytest.raises(SkillError, match="must be a list: of the params of each task"):
        Skill.of(one, batch=2)
    assert Skill.of(act, batch=2).schema["properties"].keys() == {"text", "n", "act", "gate"}  # type: ignore[union-attr]


# ------------------------------------------------------------ worker processes

BATCHES = """
import os
import time
from functools import partial
from pathlib import Path
from avtomatika import Worker

worker = Worker(worker_type="test")

@worker.skill(batch=8, max_wait=0.2)
def work(params: list, contexts):
    with Path(params[0]["runs"]).open("a") as runs:
        runs.writelines(f"{len(params)} {each.task_id}\\n" for each in contexts)
    for each in params:
        if "gate" in each and not Path(each["gate"]).exists():
            Path(each["gate"] + ".begun").touch()
            while not Path(each["gate"]).exists():
                time.sleep(0.01)
    return [{"n": each["n"]} for each in params]

if __name__ == "__main__":
    worker.run()
"""


@pytest.mark.parametrize("pool", ["thread", "process"])
def test_a_killed_worker_costs_no_task_of_its_batches(
    make_worker: Callable[..., Process], redis_url: str, make_office: Callable[..., Office], tmp_path: Path, pool: str
) -> None:
    office, gate, runs = make_office(redis_url, lease_seconds=1), tmp_path / "gate", tmp_path / "runs"
    environ = {"REDIS_URL": redis_url, "WORKER_LEASE_SECONDS": "1", "WORKER_POOL": pool, "WORKER_CONCURRENCY": "2"}
    first = make_worker(BATCHES, **environ)
    office.give(*[{"n": n, "runs": str(runs), "gate": str(gate)} for n in range(32)])
    wait_until_begun(gate)

    first.end(signal.SIGKILL)
    gate.touch()
    make_worker(BATCHES, **environ)

    assert [result.data["n"] for result in office.results(32)] == list(range(32))
    assert office.depth("work") == 0
    assert len({line.split()[1] for line in runs.read_text().splitlines()}) == 32


def test_a_stopped_worker_requeues_what_it_collects(
    make_worker: Callable[..., Process], redis_url: str, office: Office, tmp_path: Path
) -> None:
    script = BATCHES.replace("max_wait=0.2", "max_wait=600")
    first = make_worker(script, REDIS_URL=redis_url, WORKER_DRAIN_TIMEOUT="500")
    office.give(*[{"n": n, "runs": str(tmp_path / "runs")} for n in range(3)])
    with redis.Redis.from_url(redis_url) as server:
        groups = partial(server.xinfo_groups, "{avt.g0}:q:work:0")
        wait_until(lambda: [each["pending"] for each in groups()] == [3], DEADLINE_SECONDS)

    assert first.end() == 0
    assert [delivery.deliveries for delivery in office.take("work", 3)] == [1, 1, 1]


@pytest.mark.parametrize("address", ["redis", "http"], indirect=True)
@pytest.mark.usefixtures("orchestrator")
def test_tasks_arrive_in_batches_over_both_links(
    address: str, redis_url: str, make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    make_worker(BATCHES, ORCHESTRATOR_URL=address, WORKER_TOKEN=WORKER_TOKEN, WORKER_CONCURRENCY="1")
    with Client(redis_url, TOKEN) as api:
        params = {"runs": str(runs), "gate": str(gate)}
        first = api.send_task("work", {"n": 0, **params})["job_id"]
        wait_until_begun(gate)
        others = api.send_tasks("work", [{"n": n, **params} for n in range(1, 15)])["job_ids"]
        wait_until(lambda: "work" in [each["name"] for each in api.queues() if each["held"] == 8], 60, "7 are fetched")
        gate.touch()
        ended = [api.wait(job_id, timeout=60) for job_id in [first, *others]]

    assert [job["result"] for job in ended] == [{"n": n} for n in range(15)]
    # The first ends while the others begin: an eighth may still join the seven.
    assert max(int(line.split()[0]) for line in runs.read_text().splitlines()) >= 7
