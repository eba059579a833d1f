from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import SettingsError
from avtomatika.worker.spool import Spool, check_separate

from ..support.processes import Process
from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office, bp
from ..support.waiting import wait_until
from ..support.web import WebServer
from ..support.workers import wait_until_begun

HERE, THERE = "redis://127.0.0.1:6379/0", "http://localhost:8080"
MakeSpool = Callable[..., Spool]


@pytest.fixture
def make_spool(tmp_path: Path) -> MakeSpool:
    return lambda worker_id="w", **options: Spool(tmp_path / "spool", worker_id=worker_id, **options)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_results_of_an_exited_worker_are_adopted_once(make_spool: MakeSpool) -> None:
    first = make_spool()
    first.save(HERE, "g0-1.1.0", 2, {"data": "one"})
    first.save(THERE, "g0-1.2.0", 1, {"data": "two"})
    first.close()

    second = make_spool()
    [spooled] = second.take_orphaned(HERE)

    assert (spooled.task_id, spooled.attempt, spooled.content) == ("g0-1.1.0", 2, {"data": "one"})
    assert second.take_orphaned(HERE) == []
    assert [spooled.task_id for spooled in second.take_orphaned(THERE)] == ["g0-1.2.0"]


def test_results_of_a_running_worker_are_not_adopted(make_spool: MakeSpool) -> None:
    first = make_spool()
    first.save(HERE, "g0-1.1.0", 1, {})

    assert make_spool().take_orphaned(HERE) == []


def test_sent_results_and_empty_folders_are_removed(make_spool: MakeSpool, tmp_path: Path) -> None:
    first = make_spool()
    path = first.save(HERE, "g0-1.1.0", 1, {})
    kept_on = first.save(HERE, "g0-1.2.0", 1, {})
    assert path is not None
    assert kept_on is not None
    first.remove(path)
    first.close()

    second = make_spool()
    [spooled] = second.take_orphaned(HERE)
    second.remove(spooled.path)
    second.close()

    assert spooled.task_id == "g0-1.2.0"
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_spool_is_private(make_spool: MakeSpool, tmp_path: Path) -> None:
    path = make_spool().save(HERE, "g0-1.1.0", 1, {})

    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_name_of_a_task_leads_nowhere_else(make_spool: MakeSpool, tmp_path: Path) -> None:
    path = make_spool().save(HERE, "../../../etc/passwd", 1, {})

    assert path is not None
    assert path.is_relative_to(tmp_path / "spool")


def test_it_holds_so_much_and_no_more(make_spool: MakeSpool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = make_spool(max_bytes=1_000)

    spooled = [spool.save(HERE, f"g0-1.{number}.0", 1, {"data": "x" * 300}) for number in range(5)]

    assert [path is not None for path in spooled] == [True, True, False, False, False]
    assert sum(path.stat().st_size for path in files(tmp_path / "spool")) <= 1_000
    assert "is full; its result stays in memory only" in caplog.text


def test_a_disk_that_takes_nothing_costs_no_result(
    make_spool: MakeSpool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")

    assert make_spool().save(HERE, "g0-1.1.0", 1, {}) is None
    assert "stays in memory only" in caplog.text


def test_an_unreadable_result_is_left_and_others_are_adopted(
    make_spool: MakeSpool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_spool()
    path = first.save(HERE, "g0-1.1.0", 1, {})
    assert path is not None
    broken = path.with_name("half.json")
    broken.write_text('{"v": 1, "origin": ')
    first.close()

    with caplog.at_level(logging.ERROR):
        found = make_spool().take_orphaned(HERE)

    assert [spooled.task_id for spooled in found] == ["g0-1.1.0"]
    assert broken.exists()
    assert "half.json is not a valid spooled result" in caplog.text


@pytest.mark.parametrize(("spool", "payload"), [("p/spool", "p"), ("p", "p"), ("p", "p/q"), ("./x/../p", "p")])
def test_spool_and_payload_folder_never_lie_in_each_other(tmp_path: Path, spool: str, payload: str) -> None:
    with pytest.raises(SettingsError, match=r"WORKER_SPOOL_DIR=.* one folder must not contain the other"):
        check_separate("WORKER_SPOOL_DIR", os.path.join(tmp_path, spool), str(tmp_path / payload))


@pytest.mark.faults
def test_a_result_survives_the_broker_and_the_worker(
    own_server: Any,
    make_office: Callable[..., Office],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    gate, spool = tmp_path / "gate", tmp_path / "spool"
    environ = {"ORCHESTRATOR_URL": own_server.url, "WORKER_SPOOL_DIR": str(spool), "WORKER_LEASE_SECONDS": "1"}
    first = make_worker(**environ, WORKER_ID="one", WORKER_TOKEN="planted-token-of-all")
    office = make_office(own_server.url, lease_seconds=1)
    office.give({"gate": str(gate), "by": "the first"})
    wait_until_begun(gate)

    own_server.stop()
    gate.touch()
    wait_until(lambda: list(spool.rglob("*.json")))  # not one that is being written
    first.kill()
    own_server.start()
    written = b"".join(path.read_bytes() for path in files(spool))
    make_worker(**environ, WORKER_ID="two")

    office = make_office(own_server.url, lease_seconds=1)
    [result] = office.results(1)
    assert (result.data, result.worker_id) == ({"by": "the first"}, "one")
    wait_until(lambda: not files(spool))
    wait_until(lambda: office.depth("work") == 0)
    assert office.depth(bp.plan.main_queue) == 0, "the task was not run again"
    assert b"planted-token-of-all" not in written


def test_a_result_survives_the_web_process_and_the_worker(
    redis_url: str,
    office: Office,
    make_web: Callable[..., WebServer],
    make_worker: Callable[..., Process],
    tmp_path: Path,
) -> None:
    web = make_web(redis_url, WORKER_TOKEN="planted-token-of-all")
    gate, spool = tmp_path / "gate", tmp_path / "spool"
    environ = {"ORCHESTRATOR_URL": f"http://{web.address}", "WORKER_SPOOL_DIR": str(spool)}
    first = make_worker(**environ, WORKER_ID="one", WORKER_TOKEN="planted-token-of-all")
    office.give({"gate": str(gate), "by": "the first"})
    wait_until_begun(gate)

    web.kill()
    gate.touch()
    wait_until(lambda: list(spool.rglob("*.json")))  # not one that is being written
    first.kill()
    written = b"".join(path.read_bytes() for path in files(spool))
    web.start()
    make_worker(**environ, WORKER_ID="two", WORKER_TOKEN="planted-token-of-all")

    [result] = office.results(1)
    assert (result.data, result.worker_id) == ({"by": "the first"}, "one")
    wait_until(lambda: not files(spool), DEADLINE_SECONDS)
    assert b"planted-token-of-all" not in written


def test_workers_start_and_spool_while_others_come_and_go(make_spool: MakeSpool) -> None:
    def come_and_go() -> int:
        done = 0
        for number in range(150):
            spool = make_spool()
            path = spool.save(HERE, f"n{number}", 1, {})
            if path is not None:
                spool.remove(path)
            spool.take_orphaned(HERE)
            spool.close()
            done += path is not None
        return done

    def stay() -> int:
        spool = make_spool()
        places = [spool.save(HERE, f"k{number}", 1, {}) for number in range(150)]
        spool.close()
        return sum(path is not None for path in places)

    with ThreadPoolExecutor() as threads:
        done = [
            each.result(DEADLINE_SECONDS) for each in [threads.submit(work) for work in (come_and_go,) * 3 + (stay,)]
        ]

    assert done == [150] * 4


def test_a_worker_whose_folder_was_removed_creates_it_again(make_spool: MakeSpool, tmp_path: Path) -> None:
    spool = make_spool()
    spool.save(HERE, "g0-1.1.0", 1, {})
    shutil.rmtree(tmp_path / "spool")

    path = spool.save(HERE, "g0-1.2.0", 1, {})

    assert path is not None
    assert path.exists()
    spool.close()
    assert [spooled.task_id for spooled in make_spool().take_orphaned(HERE)] == ["g0-1.2.0"]


def test_partially_written_results_are_removed(make_spool: MakeSpool, tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "w.1234"
    folder.mkdir(parents=True)
    (folder / "g0-1.1.0.1.part").write_text('{"v": 1, "ori')

    assert make_spool().take_orphaned(HERE) == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_sending_a_result_after_closing_is_not_an_error(make_spool: MakeSpool) -> None:
    spool = make_spool()
    path = spool.save(HERE, "g0-1.1.0", 1, {})
    spool.close()

    assert path is not None
    spool.remove(path)
