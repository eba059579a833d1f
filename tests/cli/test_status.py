"""``avtomatika status``: figures and problems for people, and JSON."""

import json

from avtomatika import broker
from avtomatika.store import Store

from ..support.cli import Run


def test_status_shows_figures_and_problems(run: Run, redis_url: str) -> None:
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["encode"])
        with connection.channel() as channel:
            channel.settle([broker.Outgoing("avt.tasks", "encode", "{}") for _ in range(3)], ())
    store = Store.connect(redis_url)
    store.overview.sample()
    store.close()

    lines = run("status", REDIS_URL=redis_url).stdout.splitlines()
    seen = json.loads(run("status", "--json", REDIS_URL=redis_url).stdout)

    assert lines[0] == "fault    orchestrators: no orchestrator runs: 0 jobs cannot proceed. Start one"
    assert lines[1].startswith(
        "fault    encode: No worker with the skill 'encode' is available. Start one that has it."
    )
    assert "tasks         3 waiting" in [line[:23] for line in lines]
    assert "jobs          none" in lines
    assert 3 in seen["hour"]["series"]["waiting"][-2:]
