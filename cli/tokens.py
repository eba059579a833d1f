"""``avtomatika tokens ...``: make tokens, hash them, and see whether a workers.toml lets a worker in."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from avtomatika.core.signing import mac_key_of
from avtomatika.errors import SettingsError
from avtomatika.settings import Settings
from avtomatika.tokens import SHORTEST_TOKEN, Workers, hash_token, new_token

_toml_option = click.option(
    "--toml",
    "as_toml",
    is_flag=True,
    help="The lines of workers.toml in the token's place: token_sha256, and mac_key for workers on the broker.",
)


@click.group("tokens")
def command() -> None:
    """Make tokens, hash them, and try them. They are read from stdin: what is typed as an argument, others can see."""


@command.command()
@click.option("--count", type=click.IntRange(1, 10_000), default=1, help="How many.")
@_toml_option
def new(count: int, as_toml: bool) -> None:
    """Print a new token."""
    for _ in range(count):
        token = new_token()
        click.echo(f"# token: {token}\n{_toml(token)}" if as_toml else token)


@command.command("hash")
@_toml_option
def hash_(as_toml: bool) -> None:
    """Print, for each token on stdin, what workers.toml and clients.toml take as token_sha256."""
    for line in sys.stdin:
        token = line.strip()
        if len(token) < SHORTEST_TOKEN:
            click.echo(f"a token has {len(token)} characters; fewer than {SHORTEST_TOKEN} can be guessed", err=True)
        click.echo(_toml(token) if as_toml else hash_token(token))


def _toml(token: str) -> str:
    return f'token_sha256 = "{hash_token(token)}"\nmac_key = "{mac_key_of(token)}"'


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
    if path is not None and not path.is_file():
        raise SettingsError(f"{path}: no such file")
    workers = Workers(**settings.worker_tokens | ({} if path is None else {"path": path}))
    if not workers.are_configured:
        raise SettingsError("no workers.toml here, none named by WORKERS_CONFIG_PATH, and WORKER_TOKEN is not set")
    if worker_id is None:
        for name in workers.names:
            click.echo(name)
        return
    access = workers.identify(worker_id, sys.stdin.readline().strip())
    click.echo(f"{worker_id} comes in by {'the shared token' if access.name is None else f'[{access.name}]'}")
    if not access.may_sign:
        click.echo("over HTTP only: on the broker it would need mac_key beside token_sha256", err=True)
