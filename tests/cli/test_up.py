"""``avtomatika up`` with real processes: start, restarts, shutdown, and one instance per folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from ..support.cli import Up, in_process, write_project


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One ``up`` for all tests that leave it running. The port of its option is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        everything = Up(write_project(tmp_path_factory.mktemp("up") / "project"), "--port", port)
        everything.wait_until_ready()
    yield everything
    everything.kill()


def servers(up: Up) -> set[int]:
    found = set()
    for pid in up.processes():
        with suppress(FileNotFoundError):  # it has ended meanwhile
            if os.readlink(f"/proc/{pid}/exe").endswith("valkey-server"):
                found.add(pid)
    return found


def programs(up: Up, name: str) -> set[int]:
    """Processes of the folder with *name* in their command line, without their children."""
    parents = {}
    for pid in up.processes():
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if name.encode() in words:
                parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return {pid for pid, parent in parents.items() if parent not in parents}


def greet(up: Up) -> int:
    """Exit code of a job that needs everything to work."""
    return in_process(up.folder)("jobs", "submit", "greetings", "name=you", "--wait").code


def test_it_prints_the_token_once_and_a_command_that_works(running: Up) -> None:
    token = (running.folder / "var" / "client_token").read_text()
    (line,) = re.findall(r"try: +(curl .*)", running.log)

    assert running.log.count(f"client token:     {token}\n") == 1
    assert b'"greetings"' in subprocess.run(line, shell=True, capture_output=True).stdout


def test_it_prints_a_link_that_logs_in_to_the_pages(running: Up) -> None:
    (link,) = re.findall(r"log in once: +(\S+)", running.log)

    page = requests.get(link, timeout=10)

    assert (page.status_code, "Log out" in page.text) == (200, True)


@pytest.mark.parametrize("name", ["orchestrator", "worker"])
def test_a_killed_process_is_restarted(running: Up, name: str) -> None:
    (pid,) = programs(running, name)

    os.kill(pid, signal.SIGKILL)

    running.wait_until(lambda: f"{name:12} | was killed by SIGKILL" in running.log)
    running.wait_until(lambda: len(programs(running, name) - {pid}) == 1)
    assert greet(running) == 0


def test_a_killed_server_is_restarted_with_its_data(running: Up) -> None:
    assert greet(running) == 0
    run = in_process(running.folder)
    (pid,) = servers(running)

    os.kill(pid, signal.SIGKILL)

    running.wait_until(lambda: servers(running) - {pid})
    running.wait_until(lambda: "finished" in run("jobs", "list").stdout)


def test_a_second_up_in_the_folder_is_refused(running: Up) -> None:
    second = Up(running.folder, log_name="second.log")
    second.wait_until(lambda: second.process.poll() is not None)

    assert second.process.returncode == 1
    assert f"already runs in {running.folder}: process {running.process.pid}" in second.log


def test_a_signal_stops_everything_gracefully(up: Callable[..., Up]) -> None:
    everything = up().wait_until_ready()

    assert everything.end(signal.SIGINT) == 0

    assert everything.processes() == set()
    assert not (everything.folder / "var" / "up.json").exists()


@pytest.mark.faults
def test_after_sigkill_the_next_up_adopts_the_server(up: Callable[..., Up]) -> None:
    up().wait_until_ready().end(signal.SIGKILL)

    second = up().wait_until_ready()

    assert "already running in ./var, using it" in second.log
    second.wait_until(lambda: greet(second) == 0)
    assert [len(found) for found in (servers(second), *(programs(second, n) for n in ("orchestrator", "worker")))] == [
        1
    ] * 3
    assert second.end() == 0
    assert second.processes() == set()


@pytest.mark.faults
def test_after_sigkill_all_processes_end_and_the_server_last(up: Callable[..., Up]) -> None:
    everything = up().wait_until_ready()
    assert len(servers(everything)) == 1

    everything.end(signal.SIGKILL)

    everything.wait_until(lambda: not everything.processes(), seconds=60)


def test_the_next_free_port_is_used_and_printed(running: Up) -> None:
    (taken, used) = re.findall(r"port (\d+) is taken: using (\d+)", running.log)[0]

    assert int(used) > int(taken)
    assert running.url.rpartition(":")[2] == used


@pytest.mark.parametrize("file", ["blueprints/greetings.py", pytest.param("worker.py", marks=pytest.mark.faults)])
def test_an_import_error_is_usage(up: Callable[..., Up], project: Path, file: str) -> None:
    (project / file).write_text("import nothing_of_this_name\n")

    everything = up()
    everything.wait_until(lambda: everything.process.poll() is not None)

    assert everything.process.returncode == 2
    assert f"{file}:1: ModuleNotFoundError" in everything.log


@pytest.mark.faults
def test_two_started_at_once_use_different_ports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    both = [Up(write_project(tmp_path / name), "--port", port) for name in ("one", "two")]
    try:
        for each in both:
            each.wait_until_ready()
        tokens = [(each.folder / "var" / "client_token").read_text() for each in both]
        answers = [
            [
                requests.get(f"{each.url}/api/v1/blueprints", headers={"X-Client-Token": token}, timeout=10).status_code
                for token in tokens
            ]
            for each in both
        ]

        assert both[0].url != both[1].url
        assert answers == [[200, 401], [401, 200]]
        assert [greet(each) for each in both] == [0, 0]
    finally:
        for each in both:
            each.kill()


def test_a_killed_web_restarts_on_the_same_socket(running: Up) -> None:
    url = running.url
    web = min(programs(running, "avtomatika.web.wsgi:create()"))

    os.kill(web, signal.SIGKILL)

    running.wait_until(lambda: f"{'web':12} | was killed by SIGKILL" in running.log)
    assert requests.get(f"{url}/livez", timeout=30).status_code == 200  # it waits in the backlog


@pytest.mark.faults
def test_a_short_worker_token_is_accepted_on_loopback_only(up: Callable[..., Up]) -> None:
    refused = up(CLIENT_TOKEN="too-short")
    refused.wait_until(lambda: refused.process.poll() is not None)
    everywhere = up("--host", "0.0.0.0", WORKER_TOKEN="right-token")
    everywhere.wait_until(lambda: everywhere.process.poll() is not None)

    assert refused.process.returncode == everywhere.process.returncode == 2
    assert "WORKER_TOKEN must be 16 to 512 ASCII characters" in everywhere.log
    assert "too-short" not in refused.log
    up(WORKER_TOKEN="right-token").wait_until_ready()


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_cluster_of_three_servers_runs_jobs_of_all_shards_and_keeps_them(up: Callable[..., Up]) -> None:
    everything = up("--cluster").wait_until_ready()
    assert len(servers(everything)) == 3
    run = in_process(everything.folder)
    for _ in range(4):
        assert greet(everything) == 0
    assert run("doctor", "--json").code == 0
    assert everything.end() == 0

    again = up().wait_until_ready()

    assert [len(servers(again)), run("jobs", "list").stdout.count("finished")] == [3, 4]
    assert again.end() == 0
    assert again.processes() == set()
