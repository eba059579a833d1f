"""Tokens are planted, every success and failure is caused, and then all output is searched for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from avtomatika.core.signing import mac_key_of

from ..support.waiting import wait_until
from .installation import PLANTED, WORKERS_TOML, Installation

#: Values derived from a token that are as good as the token.
WORDS = [*PLANTED.values(), *(mac_key_of(token) for token in PLANTED.values())]


@pytest.fixture(scope="module")
def lived_in(installation: Installation) -> Installation:
    """Everything has happened here: finished and failed jobs, rejections, revoked tokens, broken files."""
    one, two = installation.worker("one"), installation.worker("two")
    done, broken, refused = (installation.create("ride") for _ in range(3))
    errand = installation.create("errand")
    one.register()
    one.answer(one.take(), data={"ok": True})
    one.answer(one.take(), status="failure", error={"code": "PERMANENT_ERROR", "message": "a wall"})
    task = one.take()
    two.answer(task)
    one.beat(task["task_id"])
    session = one.ask("POST", "/auth/token").json()
    WORDS.extend((session["access_token"], session["refresh_token"]))
    installation.said.pop()  # legitimate places
    installation.worker("one", session["access_token"]).register()
    for worker_id, token in (("one", PLANTED["two"]), ("two", PLANTED["shared"]), (PLANTED["one"][:20], "x")):
        installation.worker(worker_id, token).register()
    installation.client("GET", "/api/v1/jobs", token=PLANTED["one"])
    installation.client("GET", f"/api/v1/jobs?token={PLANTED['client']}", token="wrong")
    for text in (WORKERS_TOML + "[half", WORKERS_TOML + f'[again]\ntoken = "{PLANTED["one"]} "\n', WORKERS_TOML):
        installation.write_workers(text)
        wait_until(lambda: one.beat().status_code in (200, 404))
    one.answer(task)
    for job_id, status in ((done, "finished"), (refused, "finished"), (errand, "waiting_for_human")):
        installation.until_status(job_id, status)
    installation.job(broken)
    for path in ("jobs", "workers", "blueprints", "blueprints/ride"):
        installation.client("GET", f"/api/v1/{path}")
    for job_id in (done, broken, refused, errand):
        installation.client("GET", f"/api/v1/jobs/{job_id}/history")
    installation.look_at_processes()
    return installation


def assert_clean(name: str, text: str) -> None:
    for word in WORDS:
        place = text.find(word)
        assert place < 0, f"{name} shows a secret: ...{text[max(0, place - 80) : place]}<here>"


def test_no_token_is_in_any_log(lived_in: Installation) -> None:
    logs = list(lived_in.folder.glob("*.log"))

    assert {log.stem for log in logs} == {"web", "orchestrator", "worker"}
    for log in logs:
        assert log.stat().st_size > 0
        assert_clean(log.name, log.read_text())


def test_no_token_is_in_any_answer(lived_in: Installation) -> None:
    assert len(lived_in.said) > 30
    for answer in lived_in.said:
        assert_clean("an answer", answer)


def test_no_token_is_on_the_server(lived_in: Installation) -> None:
    """Neither in jobs, history, notes, messages, heartbeats nor dead letters: every key and value is searched."""
    found = dict(_everything(lived_in.redis))

    assert len(found) > 30
    for key, value in found.items():
        assert_clean(f"key {key}", f"{key} {value}")


def test_no_token_is_in_a_process_list(lived_in: Installation) -> None:
    assert len(lived_in.command_lines) >= 4
    for line in lived_in.command_lines.values():
        assert_clean("a command line", line)


def test_no_token_is_in_any_file_but_workers_toml(lived_in: Installation) -> None:
    for path in lived_in.folder.rglob("*"):
        if path.is_file() and path.name != "workers.toml":
            assert_clean(str(path), path.read_text(errors="replace"))


def test_the_search_finds_what_is_there(lived_in: Installation) -> None:
    lived_in.redis.hset("{avt.g0}:job:g0-1", "doc", json.dumps({"token": PLANTED["two"]}))
    try:
        with pytest.raises(AssertionError, match="shows a secret"):
            test_no_token_is_on_the_server(lived_in)
    finally:
        lived_in.redis.delete("{avt.g0}:job:g0-1")


def _everything(client: redis.Redis) -> Iterator[tuple[str, Any]]:
    """Return every key with its value, of any type."""
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    for key in client.scan_iter(count=1000):
        yield key.decode(), readers[client.type(key)](key)
