"""The entry point: the list of commands, the ``.env`` file and exit codes.

A command is imported when it is called, never for ``--help``: its imports are slower than a help text may be.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from avtomatika import __version__
from avtomatika.errors import (
    AvtomatikaError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    SettingsError,
    UnauthorizedError,
    UnavailableError,
)

from .terminal import visible

#: Command -> its line in ``avtomatika --help``. ``command`` in the module of the same name implements it.
_COMMANDS = {
    "new": "Create a project with a blueprint, a worker and a test.",
    "up": "Run server, web, orchestrator and worker in this terminal.",
    "demo": "Run the photo example from start to end.",
    "web": "Serve the HTTP API.",
    "orchestrator": "Run an orchestrator: advance jobs, deliver webhooks.",
    "worker": "Run a worker: execute tasks.",
    "jobs": "Submit, list, watch, cancel and retry jobs.",
    "history": "Export ended jobs of server and archive.",
    "tasks": "Send single tasks to workers.",
    "replay": "Rerun an exported job in memory and compare its steps.",
    "files": "Upload, list and download the files of jobs.",
    "blueprints": "List, check and draw blueprints; compare them with the server.",
    "queues": "List, inspect, pause and purge queues.",
    "dead-letters": "List, inspect, requeue and delete dead letters.",
    "limits": "List, set, remove, pause and resume limits of tasks.",
    "schedules": "List, add, run, pause and backfill schedules.",
    "workers": "List, drain and revoke workers.",
    "mcp": "Serve workflows and jobs as tools for agents.",
    "status": "Show what happens now, and what is wrong.",
    "top": "Show queues, workers and slow jobs, live.",
    "tokens": "Generate, hash and check tokens of workers and clients.",
    "check": "Check settings, blueprints and token files without a server.",
    "doctor": "Report faults and risks of this installation.",
    "completion": "Install completion in bash, zsh or fish.",
    "version": "Print the version.",
}

#: Other spellings of commands, which ``--help`` does not list.
_ALIASES = {
    "job": "jobs",
    "blueprint": "blueprints",
    "task": "tasks",
    "queue": "queues",
    "limit": "limits",
    "schedule": "schedules",
    "dead": "dead-letters",
    "dead-letter": "dead-letters",
    "token": "tokens",
}

_HELP_OPTIONS = {"-h", "--help"}

#: Exit codes that programs may rely on; any other failure exits with 1.
_EXIT_CODES: tuple[tuple[type[AvtomatikaError], int], ...] = (
    (SettingsError, 2),
    (InvalidRequestError, 2),
    (UnavailableError, 3),
    (NotFoundError, 4),
    (UnauthorizedError, 5),
    (ForbiddenError, 5),
)


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f".{name.replace('-', '_')}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=line) for name, line in _COMMANDS.items() if name.startswith(incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        arguments = list(ctx.args)
        try:
            return super().invoke(ctx)
        except AvtomatikaError as error:
            click.echo(f"avtomatika: {visible(str(error))}", err=True)
            if isinstance(error, InvalidRequestError):
                for line in _details(error, arguments):
                    click.echo(visible(f"  {line}"), err=True)
            ctx.exit(_exit_code(error))


@click.command(
    cls=LazyGroup,
    context_settings={
        "help_option_names": sorted(_HELP_OPTIONS),
        "auto_envvar_prefix": "AVTOMATIKA",
        "show_default": True,
    },
)
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Workflows as state machines that compile into queue routing rules.

    Settings are read from the environment, then from .env in the working directory.

    Exit codes: 0 success, 1 failure, 2 usage or settings, 3 server unreachable, 4 not found, 5 not authorized.
    """


def main() -> None:
    """Run ``avtomatika`` with the arguments of this process, and exit."""
    if not _HELP_OPTIONS.intersection(sys.argv[1:]):
        try:
            read_dotenv()
        except (OSError, ValueError) as error:
            click.echo(f"avtomatika: .env: {error}", err=True)
            sys.exit(_exit_code(SettingsError()))
    cli(prog_name="avtomatika", color=False if os.environ.get("NO_COLOR") else None)


def _details(error: InvalidRequestError, arguments: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with each field, unless the error says so, and which of *arguments* should be JSON."""
    for field, reason in error.reasons():
        if f"{field}: {reason}" not in str(error):
            yield f"{field}: {reason}"
        name = field.rpartition(".")[2]
        for argument in arguments:
            if argument.startswith(f"{name}=") and _is_wrong_type(reason):
                yield f"{argument} is a string; for a number or other JSON write {name}:={argument.partition('=')[2]}"


def _is_wrong_type(reason: str) -> bool:
    return " must be " in reason or "is not of type" in reason


def _exit_code(error: AvtomatikaError) -> int:
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def read_dotenv(path: Path = Path(".env")) -> None:
    """Add the variables of *path* that the environment does not set."""
    if path.is_file():
        from dotenv import load_dotenv

        load_dotenv(path)
