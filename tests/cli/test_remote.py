"""Commands for operators over HTTP, and help anywhere."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from werkzeug.serving import make_server

from avtomatika import broker
from avtomatika.cli.main import cli
from avtomatika.loading import load_blueprints
from avtomatika.store import Store, WorkerRegistry
from avtomatika.tokens import Clients, Workers
from avtomatika.transport import Outgoing
from avtomatika.web.app import create_app

from ..support.cli import Done, Run, in_process
from ..support.waiting import wait_until

TOKEN = "token-of-an-operator"
RECORD = {"type": "", "version": "1", "skills": [{"name": "greet", "schema": {}}], "concurrency": 1}


@pytest.fixture
def url(project: Path, redis_url: str) -> Iterator[str]:
    """The API of the project, with a revoked worker, a waiting task and a dead-lettered one."""
    path = list(sys.path)
    plans = [blueprint.compile() for blueprint in load_blueprints(str(project / "blueprints"))]
    sys.path[:] = path
    with broker.connect(redis_url) as connection:
        broker.declare(connection, plans)
        with connection.channel() as channel:
            body = '{"v":1,"kind":"task","job_id":"g0-1","ticket":"secret"}'
            channel.settle([Outgoing("avt.tasks", "greet", body) for _ in range(2)], ())
        intake = broker.Consumer(connection, ["greet"], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason="max_deliveries")
        intake.close()
    registry = WorkerRegistry.connect(redis_url)
    registry.register("w-1", RECORD)
    registry.close()
    (project / "workers.toml").write_text('[w-2]\ntoken = "token-of-worker-two"\n')
    workers = Workers(path=project / "workers.toml")
    store = Store.connect(redis_url, is_authorized=workers.may_authenticate)
    app = create_app(store=store, plans=plans, clients=Clients(token=TOKEN), declare=lambda: None)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    store.close()


@pytest.fixture
def remote(url: str, tmp_path: Path) -> Callable[..., Done]:
    """Run a command in an empty folder, with the address of the API behind the command or its group."""
    (tmp_path / "empty").mkdir()
    return lambda *args: in_process(tmp_path / "empty")(*args, "--url", url, "--token", TOKEN)


def test_workers_are_listed_with_revoked_ones(remote: Run, run: Run, redis_url: str) -> None:
    [over_http] = json.loads(remote("workers", "list", "--json").stdout)
    [directly] = json.loads(run("workers", "list", "--json", REDIS_URL=redis_url).stdout)

    assert (over_http["id"], over_http["status"]) == ("w-1", "revoked")
    assert directly["status"] == "revoked"


def test_queues_are_listed_peeked_and_purged(remote: Run) -> None:
    queues = {queue["name"]: queue for queue in json.loads(remote("queues", "list", "--json").stdout)}

    assert (queues["greet"]["waiting"], queues["greet"]["dead"]) == (1, 1)
    assert [each["job_id"] for each in json.loads(remote("queues", "peek", "greet", "--json").stdout)] == ["g0-1"]
    assert remote("queues", "purge", "greet", "--yes").stdout == "1\n"
    assert remote("queues", "peek", "greeet").code == 4


def test_dead_letters_are_shown_requeued_and_deleted(remote: Run) -> None:
    [letter] = json.loads(remote("dead-letters", "list", "--json").stdout)
    shown = remote("dead-letters", "show", letter["id"])

    assert "max_deliveries" in shown.stdout
    assert "secret" not in shown.stdout
    assert remote("dead-letters", "requeue", letter["id"]).stdout == f"{letter['id']} requeued to greet\n"
    assert remote("dead-letters", "drop", letter["id"]).code == 4


def test_doctor_prints_the_findings_of_the_web(remote: Run) -> None:
    done = remote("doctor", "--json")

    states = {each["kind"]: each["state"] for each in json.loads(done.stdout)}
    assert done.code == 1
    assert (states["server"], states["SECRET_KEY"], states["no_worker"]) == ("ok", "warning", "fault")


def test_status_shows_the_figures_of_the_web(remote: Run) -> None:
    done = remote("status", "--json")

    assert done.code == 0
    assert json.loads(done.stdout)["now"]["tasks"]["waiting"] == 1


def test_a_live_graph_is_drawn_by_the_web(remote: Run) -> None:
    done = remote("blueprints", "graph", "greetings", "--live")

    assert done.code == 0
    assert done.stdout.startswith("digraph")


def test_jobs_and_tasks_are_created_without_a_web_process(run: Run, redis_url: str) -> None:
    submitted = run("jobs", "submit", "greetings", "name=Ada", "--at", "2099-01-01T00:00:00+0000", REDIS_URL=redis_url)
    job_id = submitted.stdout.strip()
    task_id = run("tasks", "send", "greet", "name=Ada", "--url", redis_url).stdout.strip()

    shown = json.loads(run("jobs", "show", job_id, "--json", REDIS_URL=redis_url).stdout)
    assert (shown["blueprint_name"], shown["status"], shown["client"]) == ("greetings", "pending", "operator")
    assert "wants it to start in" in run("jobs", "why", job_id, REDIS_URL=redis_url).stdout
    listed = json.loads(run("jobs", "list", "--json", REDIS_URL=redis_url).stdout)
    assert [each["id"] for each in listed] == [task_id, job_id]
    assert "digraph" in run("blueprints", "graph", "greetings", "--live", REDIS_URL=redis_url).stdout
    unreachable = run("queues", "list", REDIS_URL="redis://:geheim@127.0.0.1:9/0")
    assert (unreachable.code, "redis://127.0.0.1:9/0" in unreachable.stderr) == (3, True)


def test_url_may_follow_the_group(url: str, tmp_path: Path) -> None:
    done = in_process(tmp_path)("queues", "--url", url, "--token", TOKEN, "list")

    assert (done.code, "greet" in done.stdout) == (0, True)


COMMANDS = [
    ("workers", "list"),
    ("queues", "list"),
    ("dead-letters", "list"),
    ("doctor",),
    ("status",),
    ("blueprints", "graph", "greetings", "--live"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_api_and_server_the_error_names_the_settings(command: tuple[str, ...], tmp_path: Path) -> None:
    run = in_process(tmp_path)

    nothing = run(*command)
    away = run(*command, "--url", "http://127.0.0.1:9", "--token", TOKEN)

    assert nothing.code == 3
    assert "AVTOMATIKA_URL" in nothing.stderr
    assert "REDIS_URL" in nothing.stderr
    assert away.code == 3
    assert "http://127.0.0.1:9 cannot be reached" in away.stderr + away.stdout


def every_command(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every_command(command, *names, name)
        else:
            yield (*names, name)


def test_help_of_every_command_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "blueprints").mkdir()
    (tmp_path / "blueprints" / "broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "workers.toml").write_text("[broken\n")
    run = in_process(tmp_path)

    for names in every_command(cli):
        done = run(*names, "--help", REDIS_URL="no-url", API_PORT="no-port", HANDLER_TIMEOUT="never")
        assert (done.code, done.stdout.startswith("Usage: ")) == (0, True), (names, done.stderr)
