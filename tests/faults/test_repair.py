"""Failed jobs go on where they failed, with real processes: what succeeded is not done again."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.client import Client

from ..support.installation import PROGRAMS, Installation, is_ready
from ..support.processes import AVTOMATIKA
from ..support.servers import OwnServer
from ..support.waiting import wait_until
from .repair import STATES

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
def installation(own_server: OwnServer, tmp_path: Path) -> Iterator[Installation]:
    environment = {"WORKER_POOL": "thread", "JOB_MAX_RETRIES": "0"}
    with Installation(own_server.url, tmp_path, blueprint="repair", **environment) as made:
        (tmp_path / "broken").touch()
        yield made


@pytest.fixture
def client(installation: Installation) -> Client:
    return installation.client()


class Shell:
    """The command line of an operator, in the folder of the worker."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._folder = folder
        self._env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROGRAMS), "BLUEPRINTS": "repair"}
        self._env |= {"AVTOMATIKA_URL": installation.base_url, "CLIENT_TOKEN": installation.token}

    def start(self, *args: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen((*AVTOMATIKA, *args), cwd=self._folder, env=self._env, **pipes)

    def __call__(self, *args: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*args)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == code, stderr
        return stdout, stderr

    def runs(self) -> Counter[str]:
        """Return how often each skill ran."""
        return Counter((self._folder / "runs").read_text().split())

    def repair(self) -> None:
        """Remove the cause of the failures, and count anew."""
        (self._folder / "broken").unlink()
        (self._folder / "runs").write_text("")


@pytest.fixture
def shell(installation: Installation, tmp_path: Path) -> Shell:
    return Shell(installation, tmp_path)


def failed_job(client: Client, blueprint: str = "video", **data: Any) -> str:
    job = client.wait(client.submit(blueprint, data)["job_id"], timeout=60)
    assert job["status"] == "failed", job
    return job["id"]


def test_a_retry_goes_on_with_the_state_that_failed(client: Client, shell: Shell) -> None:
    failed = failed_job(client)
    assert shell.runs() == Counter(STATES[:4])
    shell.repair()

    rehearsed, _ = shell("jobs", "retry", failed, "--rehearse")
    assert "publish → task costly" in rehearsed
    again = shell("jobs", "retry", failed)[0].strip()
    job = client.wait(again, timeout=60)

    assert (job["status"], job["retry_of"], job["tries"]) == ("finished", failed, 2)
    assert job["result"] == client.job(failed)["state_history"] | {
        "publish": ">probe>cut>encode=low>publish",
        "announce": ">probe>cut>encode=low>publish>announce",
    }
    assert shell.runs() == {"publish": 1, "announce": 1}
    assert [each["id"] for each in client.tries(failed)] == [failed, again]
    shown, _ = shell("jobs", "show", again)
    assert failed in shown.rpartition("fork of")[2]


def test_the_state_can_be_chosen(client: Client, shell: Shell) -> None:
    failed = failed_job(client)
    shell.repair()

    ids = [shell("jobs", "retry", failed, "--from", state)[0].strip() for state in ("encode", "start")]

    first, second = (client.wait(job_id, timeout=60) for job_id in ids)
    assert (first["status"], second["status"], first["result"]["visits"]) == ("finished", "finished", 1)
    assert shell.runs() == Counter(["encode", "publish", "announce", *STATES])
    _, why = shell("jobs", "retry", failed, "--from", "join", code=1)
    assert "the job never entered the state 'join'; it entered: probe, cut, encode, publish, failed" in why


def test_only_failed_branches_are_dispatched_again(client: Client, shell: Shell) -> None:
    failed = failed_job(client, "parts")
    assert shell.runs() == {"one": 1, "publish": 1, "three": 1}
    shell.repair()

    job = client.wait(client.retry(failed)["job_id"], timeout=60)

    assert (job["status"], job["result"]) == ("finished", "whole")
    assert shell.runs() == {"publish": 1}
    types = Counter(event["event_type"] for event in client.history(job["id"])["events"])
    assert (types["branch_kept"], types["branch_finished"], types["branches_joined"]) == (2, 1, 1)


def test_a_finished_job_is_forked(client: Client, shell: Shell) -> None:
    (shell._folder / "broken").unlink()
    finished = client.wait(client.submit("video")["job_id"], timeout=60)
    (shell._folder / "runs").write_text("")
    entered = [event["seq"] for event in client.history(finished["id"])["events"] if event["state"] == "publish"]

    rehearsed, _ = shell("jobs", "fork", finished["id"], "--at", "encode", "--set", "quality=high", "--rehearse")
    assert "encode → task costly → publish → task costly → announce → task costly → done → finished" in rehearsed
    forks = [
        shell("jobs", "fork", finished["id"], "--at", "encode", "--set", "quality=high")[0].strip(),
        client.fork(finished["id"], entered[0])["job_id"],
    ]
    by_state, by_entry = (client.wait(job_id, timeout=60) for job_id in forks)

    assert by_state["result"]["announce"] == ">probe>cut>encode=high>publish>announce"
    assert (by_state["fork_of"], by_state["retry_of"], by_state["tries"]) == (finished["id"], None, 1)
    assert by_entry["result"] == finished["result"]
    assert shell.runs() == Counter(["encode", "publish", "announce", "publish", "announce"])
    assert client.job(finished["id"])["version"] == finished["version"]


def test_500_failed_jobs_are_repaired_by_one_command(client: Client, shell: Shell) -> None:
    ids = client.submit_many("video", [{"initial_data": {"n": n}} for n in range(500)])["job_ids"]
    wait_until(lambda: client.count_jobs(status="failed")["total"] == 500, 200, "500 failed jobs")
    shell.repair()
    chosen = ("jobs", "retry", "--status", "failed", "--blueprint", "video", "--since", "1d", "--rehearse")

    table, told = shell(*chosen)
    assert ("50" in table, "publish → task costly" in table) == (True, True)
    assert "50 jobs rehearsed" in told
    assert client.count_jobs()["total"] == 500, "nothing was sent"
    _, told = shell(*chosen, "--yes")
    assert "500 done, 0 refused" in told

    wait_until(lambda: client.count_jobs(status="finished")["total"] == 500, 200, "500 finished jobs")
    assert shell.runs() == {"publish": 500, "announce": 500}
    assert {job["retry_of"] for job in client.jobs(status="finished", page_size=200)} == set(ids)


@pytest.mark.faults
def test_a_killed_retry_of_many_is_repeated_without_a_second_one(
    installation: Installation, client: Client, shell: Shell
) -> None:
    ids = client.submit_many("video", [{"initial_data": {"n": n}} for n in range(500)])["job_ids"]
    wait_until(lambda: client.count_jobs(status="failed")["total"] == 500, 200, "500 failed jobs")
    installation.kill("worker")  # so that no job ends and matches again
    shell.repair()
    chosen = ("jobs", "retry", "--status", "failed", "--yes")
    for role in ("command", "web"):
        before = client.count_jobs()["total"]
        retrying = shell.start(*chosen)
        wait_until(lambda before=before: client.count_jobs()["total"] > before, 60, "the first retries")  # type: ignore[misc]
        if role == "web":
            installation.restart("web")
        retrying.kill()
        retrying.communicate()
        wait_until(lambda: is_ready(installation.base_url), 30, "the web process is ready")
        if client.count_jobs()["total"] == 1000:
            break

    shell(*chosen)

    retried = Counter(job["retry_of"] for job in client.jobs(page_size=200) if job["retry_of"] is not None)
    assert retried == dict.fromkeys(ids, 1)
    installation.start("worker")
    wait_until(lambda: client.count_jobs(status="finished")["total"] == 500, 200, "500 finished jobs")


def test_the_paths_that_new_code_changes_are_shown(client: Client, shell: Shell, tmp_path: Path) -> None:
    failed_job(client)
    (tmp_path / "broken").unlink()
    finished = [client.wait(client.submit("video")["job_id"], timeout=60)["id"] for _ in range(3)]
    code = (PROGRAMS / "repair.py").read_text()
    (tmp_path / "same.py").write_text(code)
    done = 'actions.dispatch_task("costly", {"name": "publish"}, transitions={"success": "done", "failure": "failed"})'
    changed_code = code.replace(
        "    transitions = {", f"    if encode:\n        {done}\n        return\n    transitions = {{"
    )
    (tmp_path / "changed.py").write_text(changed_code)

    _, same = shell("blueprints", "rehearse", "video", "--since", "1d", "--blueprints", "same.py", "--fail-on-change")
    command = ("blueprints", "rehearse", "video", "--blueprints", "changed.py", "--graph", "changes.dot")
    table, changed = shell(*command)
    shell(*command, "--fail-on-change", code=1)

    assert "4 jobs rehearsed: the paths of 0 change" in same
    assert "4 jobs rehearsed: the paths of 3 change" in changed
    row = next(line.split() for line in table.splitlines() if line.startswith("3"))
    assert row == ["3", "task", "costly", "announce", "→", "task", "costly", "→", "done", "→", "finished", *row[11:]]
    assert row[-1] in finished
    drawn = (tmp_path / "changes.dot").read_text()
    assert ("4 jobs rehearsed, 3 take another path" in drawn, "3 → 0" in drawn, "0 → 3" in drawn) == (True, True, True)
