"""``avtomatika web``: serve the HTTP API with gunicorn."""

import os
import sys

import click

from avtomatika.errors import SettingsError
from avtomatika.tokens import Clients, Workers

from .environment import join_local

#: Runs the gunicorn of this interpreter's environment.
SERVE = (
    *(sys.executable, "-m", "gunicorn"),
    *("-c", "python:avtomatika.cli.gunicorn_config", "avtomatika.web.wsgi:create()"),
)


@click.command("web")
@click.option(
    "--port", type=click.IntRange(1, 65_535), envvar=("API_PORT", "PORT"), help="Port to listen on.  [default: 8080]"
)
@click.option("--host", envvar="API_HOST", help="Address to listen on.  [default: all interfaces]")
def command(port: int | None, host: str | None) -> None:
    """Serve the HTTP API."""
    settings = join_local()
    if not Clients(**settings.client_tokens).are_configured:
        raise SettingsError(
            "no client is configured: set CLIENT_TOKEN, or write a clients.toml (see clients.toml.example)"
        )
    Workers(**settings.worker_tokens)
    os.environ["API_PORT"] = str(port or settings.port)
    if host is not None:
        os.environ["API_HOST"] = host
    os.execv(SERVE[0], SERVE)  # noqa: S606 - replaces this process: signals and exit codes are those of gunicorn
