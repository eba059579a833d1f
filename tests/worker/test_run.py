from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika import Worker
from avtomatika.errors import SettingsError
from avtomatika.worker.run import load_worker, run_worker


@pytest.fixture
def worker() -> Worker:
    worker = Worker()
    worker.skill("work")(lambda params: None)
    return worker


def test_a_worker_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_with_worker.py").write_text("from avtomatika import Worker\nworker = Worker('video')\n")
    monkeypatch.chdir(tmp_path)

    assert load_worker("module_with_worker:worker").worker_type == "video"


def test_an_object_that_is_not_a_worker_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_without_worker.py").write_text("worker = 3\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError, match="'module_without_worker:worker' is of type int, but must be a Worker"):
        load_worker("module_without_worker:worker")


def test_a_worker_without_skills_is_rejected() -> None:
    with pytest.raises(SettingsError, match="the worker has no skill"):
        run_worker(Worker())


@pytest.mark.parametrize("url", ["amqp://me:sesame@a", "amqps://me:sesame@a"])
def test_an_unsupported_scheme_is_rejected(worker: Worker, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", url)
    with pytest.raises(SettingsError, match=r"a link to .* is not supported") as caught:
        run_worker(worker)

    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080", "https://me:sesame@a.example"])
def test_a_web_address_requires_a_token(worker: Worker, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_URL", url)
    with pytest.raises(SettingsError, match="requires a token: set AVTOMATIKA_WORKER_TOKEN") as caught:
        run_worker(worker)

    assert "sesame" not in str(caught.value)
