"""``avtomatika up``: everything in one terminal, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import click

from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.tokens import SHORTEST_TOKEN, Clients, Workers

from .address import LISTEN_VARIABLE, Address, is_loopback, listen
from .embedded import EmbeddedServer
from .environment import completed, local_defaults
from .parent import end_with_parent
from .supervisor import Program, Supervisor
from .var_folder import announce, folder_lock, withdraw
from .web import SERVE
from .worker import default_worker

_POLL_SECONDS = 0.2
#: The shortest WORKER_TOKEN for a trial on one machine.
_SHORTEST_TRIAL_TOKEN = 8
_COLOURS = {"web": "cyan", "orchestrator": "magenta", "worker": "green"}


@click.command("up")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    envvar=("API_PORT", "PORT"),
    default=8080,
    help="Where the web listens; if it is taken, the next free one.",
)
@click.option("--host", envvar="API_HOST", default="127.0.0.1", help="Address that the web listens at.")
@click.option("--blueprints", envvar="BLUEPRINTS", default="blueprints/", help="Modules, files or a folder.")
@click.option("--worker", envvar="AVTOMATIKA_WORKER", help="module:worker or file.py:worker.  [default: ./worker.py]")
def command(port: int, host: str, blueprints: str, worker: str | None) -> None:
    """Run everything in this terminal: server, web, orchestrator and worker.

    Without REDIS_URL a server of its own is started. Data, secrets and tokens lie under ./var. What dies is started
    again; Ctrl-C stops everything in order, a second one at once.
    """
    end_with_parent()
    settings = _trial_settings(Settings.from_environment(), host)
    Clients(**settings.client_tokens)
    Workers(**settings.worker_tokens)
    for blueprint in load_blueprints(blueprints):
        blueprint.compile()
    with folder_lock() as lock:
        stop = _Stop()
        with _server(settings) as (redis_url, server), listen(host, port) as listener:
            address = Address(host, listener.getsockname()[1])
            if address.port != port:
                _print_line("web", f"port {port} is taken: using {address.port}")
            environment = _environment(settings, redis_url, address) | {"BLUEPRINTS": blueprints}
            programs = list(_programs(environment, worker or default_worker(), listener.fileno()))
            supervisor = Supervisor(programs, on_line=_print_line, inherited=[lock])
            _keep_up(supervisor, server, stop=stop, greeting=_Greeting(address, settings, environment))


def _trial_settings(settings: Settings, host: str) -> Settings:
    """*settings*, in which a short WORKER_TOKEN is accepted if only this machine can reach the web."""
    token = settings.worker_token
    if token is None or not _SHORTEST_TRIAL_TOKEN <= len(token) < SHORTEST_TOKEN or not is_loopback(host):
        return settings
    _print_line("up", f"WORKER_TOKEN has {len(token)} characters: other commands refuse fewer than {SHORTEST_TOKEN}")
    return replace(settings, worker_token_min_length=min(settings.worker_token_min_length, len(token)))


class _Greeting:
    """What one needs to know to begin, said once, when there is somebody to speak to."""

    def __init__(self, address: Address, settings: Settings, environment: Mapping[str, str]) -> None:
        self._address = address
        self._is_token_ours = settings.client_token is None and not settings.clients_config_path.is_file()
        self._token = environment["CLIENT_TOKEN"] if self._is_token_ours else "$TOKEN"
        self._said = False

    def say_when_ready(self) -> None:
        if self._said or not self._address.answers():
            return
        self._said = True
        announce(self._address.url)
        click.echo(f"avtomatika is up: {self._address.url}")
        if self._is_token_ours:
            click.echo(f"client token:     {self._token}")
        click.echo(f'try:              curl -H "X-Client-Token: {self._token}" {self._address.url}/api/v1/blueprints')
        click.echo("stop:             Ctrl-C")


class _Stop:
    """Counts the signals that ask to stop: the first is a request, the second is haste."""

    def __init__(self) -> None:
        self._asked = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self._asked += 1

    def is_asked(self) -> bool:
        return self._asked > 0

    def is_urgent(self) -> bool:
        return self._asked > 1


def _keep_up(supervisor: Supervisor, server: EmbeddedServer | None, *, stop: _Stop, greeting: _Greeting) -> None:
    """Run until a signal comes; whatever happens, everything is stopped in order."""
    try:
        supervisor.start()
        while not stop.is_asked():
            if server is not None and not server.is_alive():
                _print_line("server", "is gone; starting it again")
                server.start()
            supervisor.poll(_POLL_SECONDS)
            greeting.say_when_ready()
        _print_line("up", "stopping")
    finally:
        withdraw()
        supervisor.stop(in_a_hurry=stop.is_urgent)


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """URL of the server, and the embedded one if it is that."""
    if settings.redis_url is not None:
        yield settings.redis_url, None
        return
    server = EmbeddedServer()
    if server.start():
        _print_line("server", "still runs under ./var: going on with it")
    try:
        yield server.url, server
    finally:
        server.stop()


def _environment(settings: Settings, redis_url: str, address: Address) -> dict[str, str]:
    comfort = {"LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}
    fixed = {
        "API_HOST": address.host,
        "API_PORT": str(address.port),
        "WORKER_TOKEN_MIN_LENGTH": str(settings.worker_token_min_length),
    }
    return completed(local_defaults(redis_url, settings) | comfort) | fixed


def _programs(environment: Mapping[str, str], worker: str | None, descriptor: int) -> Iterator[Program]:
    """In the order in which they are started; they are stopped in reverse. The web listens at *descriptor*."""
    this = (sys.executable, "-m", "avtomatika.cli")
    listening = {**environment, LISTEN_VARIABLE: str(descriptor)}
    yield Program("web", SERVE, listening, stop_seconds=10.0, descriptors=(descriptor,))
    yield Program("orchestrator", (*this, "orchestrator"), environment, stop_seconds=15.0)
    if worker is None:
        _print_line("worker", "none: there is no ./worker.py, and --worker names none")
    else:
        yield Program("worker", (*this, "worker", worker), environment, stop_seconds=30.0)


def _print_line(name: str, line: str) -> None:
    with suppress(OSError):  # the terminal is gone: no reason to leave anything unstopped
        click.echo(f"{click.style(f'{name:12}', fg=_COLOURS.get(name, 'yellow'))} | {line}", err=True)
