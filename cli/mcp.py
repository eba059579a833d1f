"""``avtomatika mcp``: tools for agents by the Model Context Protocol."""

import asyncio

import click

from avtomatika.client import AsyncClient
from avtomatika.errors import SettingsError

from .address import is_loopback
from .api import api_options, connected


@click.command("mcp")
@api_options
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP at /mcp of a loopback address, not stdio.")
@click.option("--allow-write", is_flag=True, help="Offer also the tools that create and change jobs.")
@click.pass_context
def command(ctx: click.Context, http: str | None, allow_write: bool) -> None:
    """Serve workflows, skills and jobs as tools for agents (Model Context Protocol), over stdio."""
    try:
        from avtomatika.mcp.server import serve
    except ImportError as error:
        raise SettingsError(f"avtomatika mcp needs {error.name}: pip install 'avtomatika[mcp]'") from None
    host, _, port = (http or "127.0.0.1:0").rpartition(":")
    if not is_loopback(host.strip("[]")) or not port.isdecimal():
        raise SettingsError(f"--http is {http!r}, but must be a loopback address and a port, like 127.0.0.1:8000")
    address = None if http is None else (host.strip("[]"), int(port))
    asyncio.run(serve(connected(ctx, AsyncClient), address, allow_write=allow_write))
