"""``avtomatika tokens``: generate and hash tokens, and check workers.toml."""

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
    help="Print lines for workers.toml: token_sha256, and mac_key for workers on the broker.",
)


@click.group("tokens")
def command() -> None:
    """Generate, hash and check tokens.

    Tokens are read from stdin, because other users can see arguments.
    """


@command.command()
@click.option("--count", type=click.IntRange(1, 10_000), default=1, help="Number of tokens.")
@_toml_option
def new(count: int, as_toml: bool) -> None:
    """Generate tokens, one a line."""
    for _ in range(count):
        token = new_token()
        click.echo(f"# token: {token}\n{_toml(token)}" if as_toml else token)


@command.command("hash")
@_toml_option
def hash_(as_toml: bool) -> None:
    """Print the hashes of the tokens on stdin.

    workers.toml and clients.toml take them as token_sha256.
    """
    for line in sys.stdin:
        token = line.strip()
        if len(token) < SHORTEST_TOKEN:
            click.echo(
                f"warning: a token of {len(token)} characters can be guessed; use at least {SHORTEST_TOKEN}", err=True
            )
        click.echo(_toml(token) if as_toml else hash_token(token))


def _toml(token: str) -> str:
    return f'token_sha256 = "{hash_token(token)}"\nmac_key = "{mac_key_of(token)}"'


@command.command()
@click.argument("worker_id", required=False)
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to check.  [default: WORKERS_CONFIG_PATH, else ./workers.toml]",
)
def check(worker_id: str | None, path: Path | None) -> None:
    """Check workers.toml and print the names in it.

    With WORKER_ID, check whether that worker is authorized by the token on stdin.

    Exits 2 if the file is invalid, 5 if the token is rejected.
    """
    settings = Settings.from_environment()
    if path is not None and not path.is_file():
        raise SettingsError(f"{path}: no such file")
    workers = Workers(**settings.worker_tokens | ({} if path is None else {"path": path}))
    if not workers.are_configured:
        raise SettingsError("no ./workers.toml, and neither WORKERS_CONFIG_PATH nor WORKER_TOKEN is set")
    if worker_id is None:
        for name in workers.names:
            click.echo(name)
        return
    access = workers.identify(worker_id, sys.stdin.readline().strip())
    click.echo(f"{worker_id} is authorized by {'the shared token' if access.name is None else f'[{access.name}]'}")
    if not access.may_sign:
        click.echo("over HTTP only: connecting to the broker needs mac_key besides token_sha256", err=True)
