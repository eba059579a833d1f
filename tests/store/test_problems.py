"""What is wrong, derived from the figures of a server."""

from dataclasses import replace
from typing import Any

import pytest

from avtomatika.core.job import JobStatus
from avtomatika.diagnosis import overview, problems
from avtomatika.store import Finding, HealthState, Overview, Store, WorkerRecord
from avtomatika.store.server_info import ServerInfo
from avtomatika.transport import QueueStats

SOUND = Overview(
    at_ms=1_000_000,
    jobs=dict.fromkeys(JobStatus, 0),
    queues=(),
    task_queues=("encode", "@w-9"),
    dead_letters={},
    workers=(),
    servers=[ServerInfo("9.1.2", "everysec", used_memory=2**20, maxmemory=2**30)],
    secrets=1,
    versions=(),
    silent_ms=2000,
    hour={},
    day={},
)
MINUTES = 60_000


def worker(name: str, *skills: str, **fields: Any) -> WorkerRecord:
    record = {"skills": [{"name": skill} for skill in skills], "version": fields.pop("version", "sdk 1")}
    said = {"beat": {}, "heard_ms": 0, "since_ms": 0, "silent_ms": 0} | fields
    return WorkerRecord(worker_id=name, record=record, **said)


def waiting(name: str, number: int = 1, waited_ms: int = 1000) -> tuple[QueueStats]:
    return (QueueStats(name, number, waited_ms=waited_ms),)


def found(findings: tuple[Finding, ...] = (), **changes: Any) -> list[tuple[str, str, int]]:
    return [
        (each.kind or each.subject, each.subject, each.count) for each in problems(replace(SOUND, **changes), findings)
    ]


def test_a_sound_installation_has_no_problem() -> None:
    assert found(queues=waiting("encode"), workers=[worker("w-1", "encode")]) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"silent_ms": 31_000, "jobs": SOUND.jobs | {"running": 7, "failed": 9}},
            ("no_orchestrator", "orchestrators", 7),
        ),
        ({"unserved_shards": [2, 3]}, ("shards_unserved", "orchestrators", 2)),
        ({"queues": waiting("encode", 3)}, ("no_worker", "encode", 3)),
        ({"queues": waiting("encode", 3), "workers": [worker("w-1", "decode")]}, ("no_worker", "encode", 3)),
        ({"queues": waiting("@w-9", 2), "workers": [worker("w-1", "encode")]}, ("no_worker", "@w-9", 2)),
        (
            {"queues": waiting("encode", 5, 6 * MINUTES), "workers": [worker("w-1", "encode")]},
            ("long_wait", "encode", 5),
        ),
        ({"queues": waiting("steps.video@1", 5, 6 * MINUTES)}, ("long_wait", "steps.video@1", 5)),
        ({"queues": [QueueStats("encode", 5, paused_ms=1, paused_by="ops")]}, ("queue_paused", "encode", 5)),
        ({"dead_letters": {"encode": 4}}, ("dead_letters", "encode", 4)),
        ({"jobs": SOUND.jobs | {"quarantined": 2}}, ("quarantined", "jobs", 2)),
        ({"workers": [worker("w-1", silent_ms=41_000), worker("w-2")]}, ("workers_lost", "w-1", 1)),
        ({"workers": [worker("w-1", is_revoked=True)]}, ("workers_revoked", "w-1", 1)),
        ({"versions": ["0.0.9"]}, ("versions_mixed", "0.0.9, 0.1.0", 2)),
        ({"workers": [worker("w-1", version="avtomatika 0.0.9")]}, ("versions_mixed", "0.0.9, 0.1.0", 2)),
        ({"servers": [replace(SOUND.servers[0], aof="off")]}, ("persistence", "persistence", 1)),
        ({"servers": [replace(SOUND.servers[0], used_memory=9 * 2**27)]}, ("memory", "memory", 1)),
    ],
)
def test_a_problem_is_found(changes: dict[str, Any], problem: tuple[str, str, int]) -> None:
    assert found(**changes) == [problem]


def test_offline_workers_do_not_serve_their_skill() -> None:
    workers = [worker("w-1", "encode", is_revoked=True), worker("w-2", "encode", beat={"status": "offline"})]

    [fault, _] = problems(replace(SOUND, queues=waiting("encode", 2, 90_000), workers=workers), ())

    assert fault.text == (
        "No worker with the skill 'encode' is available: 1 offline, 1 revoked. "
        "2 messages waiting, the first for 1 minute 30 seconds"
    )


def test_faults_come_first_and_warnings_about_settings_are_left_to_the_doctor() -> None:
    findings = (
        Finding("broker links", HealthState.WARNING, "not authenticated"),
        Finding("clients", HealthState.FAULT, "no client can authenticate"),
    )

    assert found(findings, dead_letters={"encode": 1}) == [("clients", "clients", 1), ("dead_letters", "encode", 1)]


def test_jobs_wait_for_reasons() -> None:
    jobs = SOUND.jobs | {"pending": 1, "waiting_for_human": 2, "quarantined": 3, "running": 4, "waiting_for_worker": 5}

    waits = replace(SOUND, jobs=jobs, queues=waiting("encode", 6)).waiting

    assert {reason: number for reason, number in waits.items() if number} == {
        "start": 1,
        "human": 2,
        "quarantined": 3,
        "worker": 5,
        "no_worker": 6,
    }


@pytest.mark.parametrize("own_server", [{"appendonly": "no"}], indirect=True)
def test_a_real_server_is_examined(own_server: Any) -> None:
    store = Store.connect(own_server.url)
    kinds = {each.kind or each.subject for each in overview(store, store.overview.read())["problems"]}
    store.plans.announce(["video@1"])
    later = {each.kind or each.subject for each in overview(store, store.overview.read())["problems"]}
    store.close()

    assert (kinds, later) == ({"no_orchestrator", "persistence"}, {"persistence"})
