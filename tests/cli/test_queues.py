"""``avtomatika queues`` and ``dead-letters``: tables for people and JSON, from the server directly and over HTTP."""

from __future__ import annotations

import json

import pytest

from avtomatika import broker
from avtomatika.transport import Outgoing

from ..support.cli import Run
from ..support.waiting import wait_until


@pytest.fixture
def run_there(run: Run, redis_url: str) -> Run:
    """Commands against a server with two waiting tasks of ``encode`` and a dead-lettered one."""
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["encode"])
        with connection.channel() as channel:
            body = '{"v":1,"kind":"task","job_id":"g0-1","ticket":"secret"}'
            channel.settle([Outgoing("avt.tasks", "encode", body) for _ in range(3)], ())
        intake = broker.Consumer(connection, ["encode"], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason="max_deliveries")
        intake.close()

    def run_there(*args: str) -> object:
        return run(*args, REDIS_URL=redis_url)

    return run_there  # type: ignore[return-value]


def test_list_and_peek_show_waiting_messages(run_there: Run) -> None:
    queues = {queue["name"]: queue for queue in json.loads(run_there("queues", "list", "--json").stdout)}
    table = run_there("queues", "list").stdout
    messages = json.loads(run_there("queues", "peek", "encode", "--json").stdout)

    assert (queues["encode"]["waiting"], queues["encode"]["dead"]) == (2, 1)
    assert "encode" in table
    assert [(each["kind"], each["job_id"]) for each in messages] == [("task", "g0-1")] * 2
    assert "secret" not in str(messages)


def test_purge_asks_for_confirmation(run_there: Run) -> None:
    asked = run_there("queues", "purge", "encode")
    done = run_there("queues", "purge", "encode", "--yes")

    assert (asked.code, "are not notified" in asked.stderr) == (1, True)
    assert (done.code, done.stdout.strip()) == (0, "2")


def test_a_queue_is_paused_and_resumed(run_there: Run) -> None:
    paused = json.loads(run_there("queues", "pause", "encode", "--json").stdout)
    listed = {queue["name"]: queue for queue in json.loads(run_there("queues", "list", "--json").stdout)}
    resumed = run_there("queues", "resume", "encode")
    missing = run_there("queues", "pause", "encod")

    assert paused["paused_at"] == listed["encode"]["paused_at"] is not None
    assert (resumed.code, "paused" in resumed.stdout) == (0, False)
    assert (missing.code, "did you mean 'encode'?" in missing.stderr) == (4, True)


def test_an_unknown_queue_is_exit_code_4_with_a_suggestion(run_there: Run) -> None:
    done = run_there("queues", "peek", "encod")

    assert (done.code, "did you mean 'encode'?" in done.stderr) == (4, True)


def test_dead_letters_are_shown_requeued_and_deleted(run_there: Run) -> None:
    [letter] = json.loads(run_there("dead-letters", "list", "--json").stdout)
    shown = run_there("dead-letters", "show", letter["id"])
    back = run_there("dead-letters", "requeue", letter["id"])
    gone = run_there("dead-letters", "drop", letter["id"])

    assert "max_deliveries" in shown.stdout
    assert "secret" not in shown.stdout
    assert back.stdout.strip() == f"{letter['id']} requeued to encode"
    assert gone.code == 4
    assert run_there("dead-letters", "list", "--json").stdout.strip() == "[]"
