"""``avtomatika token ...``: make tokens, hash them, and see whether a workers.toml lets a worker in."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from avtomatika.errors import SettingsError
from avtomatika.settings import Settings
from avtomatika.tokens import Workers, hash_token, new_token


@click.group("token")
def command() -> None:
    """Make tokens, hash them, and try them. They are read from stdin: what is typed as an argument, others can see."""


@command.command()
@click.option("--count", type=click.IntRange(1, 10_000), default=1, help="How many.")
def new(count: int) -> None:
    """Print a new token."""
    for _ in range(count):
        click.echo(new_token())


@command.command("hash")
def hash_() -> None:
    """Print, for each token on stdin, what workers.toml and clients.toml take as token_sha256."""
    for line in sys.stdin:
        click.echo(hash_token(line.strip()))


@command.command()
@click.argument("worker_id", required=False)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="[default: WORKERS_CONFIG_PATH, else ./workers.toml]",
)
def check(worker_id: str | None, path: Path | None) -> None:
    """Read workers.toml as the web does and print whom it names; with WORKER_ID, say whether the token on stdin fits.

    Exit 2 where the file has a fault, 5 where the token does not fit.
    """
    settings = Settings.from_environment()
    path = path or settings.workers_config_path
    if path is None and settings.worker_token is None:
        raise SettingsError("no workers.toml here, none named by WORKERS_CONFIG_PATH, and WORKER_TOKEN is not set")
    workers = Workers(token=settings.worker_token, path=path)
    if worker_id is None:
        for name in workers.names:
            click.echo(name)
        return
    access = workers.identify(worker_id, sys.stdin.readline().strip())
    click.echo(f"{worker_id} comes in by {'the shared token' if access.name is None else f'[{access.name}]'}")
