from __future__ import annotations

import socket

import pytest
import requests

from avtomatika.errors import SettingsError
from avtomatika.worker.health import STUCK_AFTER_SECONDS, Health


@pytest.mark.parametrize(
    ("age", "code", "status", "stuck"),
    [(0.5, 200, "ok", []), (STUCK_AFTER_SECONDS + 1, 503, "stuck", ["outbox"])],
)
def test_stuck_loops_are_reported(age: float, code: int, status: str, stuck: list[str]) -> None:
    health = Health(0, lambda: {"intake": 0.1, "outbox": age})

    answer = requests.get(f"http://127.0.0.1:{health.port}/livez", timeout=10)
    elsewhere = requests.get(f"http://127.0.0.1:{health.port}/", timeout=10)
    health.close()

    assert (answer.status_code, answer.json()) == (
        code,
        {"status": status, "stuck": stuck, "loops": {"intake": 0.1, "outbox": age}, "unfit": None},
    )
    assert elsewhere.status_code == 404


def test_a_worker_with_suspended_skills_is_alive() -> None:
    unfit = {"reason": "access denied", "skills": ["encode"]}
    health = Health(0, lambda: {"intake": 0.1}, lambda: unfit)

    answer = requests.get(f"http://127.0.0.1:{health.port}/livez", timeout=10)
    health.close()

    assert (answer.status_code, answer.json()["status"], answer.json()["unfit"]) == (200, "unfit", unfit)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(SettingsError, match=f"WORKER_HEALTH_PORT={port}: Address already in use"):
            Health(port, dict)
