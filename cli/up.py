"""``avtomatika up``: run all processes in one terminal until Ctrl-C."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import click

from avtomatika.client import Client
from avtomatika.errors import AvtomatikaError, SettingsError
from avtomatika.loading import load_blueprints
from avtomatika.local_installation import VAR
from avtomatika.settings import Settings
from avtomatika.tokens import SHORTEST_TOKEN, Clients, Workers

from .address import LISTEN_VARIABLE, is_loopback, listen, url_of
from .arguments import blueprints_option, worker_option
from .embedded import CLUSTER, EmbeddedServer
from .embedded_cluster import EmbeddedCluster
from .environment import SHARDS_FILE, completed, local_defaults
from .parent import end_with_parent
from .server_guard import guarded
from .supervisor import Program, Supervisor
from .var_folder import announce, folder_lock, withdraw
from .web import SERVE
from .worker import default_worker

_POLL_SECONDS = 0.2
#: Time limit of a request to the web while it starts; the programs are not supervised meanwhile.
_PROBE_SECONDS = 1.0
#: Minimum length of WORKER_TOKEN for a trial on one machine.
_SHORTEST_TRIAL_TOKEN = 8
_COLOURS = {"web": "cyan", "orchestrator": "magenta", "worker": "green"}


@click.command("up")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    envvar=("API_PORT", "PORT"),
    default=8080,
    help="Port that the web listens on; if it is taken, the next free one.",
)
@click.option("--host", envvar="API_HOST", default="127.0.0.1", help="Address that the web listens on.")
@click.option(
    "--cluster",
    is_flag=True,
    help="The embedded server is a cluster of three, with 6 shards unless AVTOMATIKA_SHARDS is set.",
)
@blueprints_option
@worker_option
def command(port: int, host: str, cluster: bool, blueprints: str, worker: str | None) -> None:
    """Run server, web, orchestrator and worker in this terminal.

    Without REDIS_URL, starts an embedded server. Data, secrets and tokens are kept in ./var. Restarts processes that
    die. Ctrl-C shuts down gracefully, a second Ctrl-C immediately.
    """
    end_with_parent()
    settings = _trial_settings(Settings.from_environment(), host)
    Clients(**settings.client_tokens)
    Workers(**settings.worker_tokens)
    for blueprint in load_blueprints(blueprints, may_be_missing=True):
        blueprint.compile()
    with folder_lock() as lock:
        signals: list[int] = []  # the first requests a graceful shutdown, the second an immediate one
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _: signals.append(received))
        with _server(settings, cluster) as (redis_url, server), listen(host, port) as listener:
            free_port = listener.getsockname()[1]
            url = url_of(host, free_port)
            if free_port != port:
                _print_line("web", f"port {port} is taken: using {free_port}")
            environment = _environment(settings, redis_url, host, free_port) | {"BLUEPRINTS": blueprints}
            programs = list(_programs(environment, worker or default_worker(), listener.fileno()))
            supervisor = Supervisor(programs, on_line=_print_line, inherited=[lock])
            on_ready = partial(_announce, url, settings, environment.get("CLIENT_TOKEN"))
            _keep_up(supervisor, server, url, signals=signals, on_ready=on_ready)


def _trial_settings(settings: Settings, host: str) -> Settings:
    """Return *settings* that accept a short WORKER_TOKEN if only this machine can reach the web."""
    token = settings.worker_token
    if token is None or not _SHORTEST_TRIAL_TOKEN <= len(token) < SHORTEST_TOKEN or not is_loopback(host):
        return settings
    _print_line("up", f"WORKER_TOKEN has {len(token)} characters: other commands refuse fewer than {SHORTEST_TOKEN}")
    return replace(settings, worker_token_min_length=min(settings.worker_token_min_length, len(token)))


def _announce(url: str, settings: Settings, token: str | None) -> None:
    """Print URL and token, and record that the web answers."""
    link = None
    with suppress(AvtomatikaError), Client(url, token) as client:
        link = client.login_link()["url"]
    announce(url)
    click.echo(f"avtomatika is up: {url}")
    is_generated = settings.client_token is None and not settings.clients_config_path.is_file()
    if is_generated:
        click.echo(f"client token:     {token}")
    if link is not None:
        click.echo(f"log in once:      {link} (within 5 minutes)")
    shown = token if is_generated else "$TOKEN"
    click.echo(f'try:              curl -H "X-Client-Token: {shown}" {url}/api/v1/blueprints')
    click.echo("stop:             Ctrl-C")


def _is_alive(url: str) -> bool:
    try:
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=_PROBE_SECONDS)) as connection:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


def _keep_up(
    supervisor: Supervisor,
    server: EmbeddedServer | EmbeddedCluster | None,
    url: str,
    *,
    signals: Sequence[int],
    on_ready: Callable[[], None],
) -> None:
    """Run until a signal is received, and call *on_ready* when the web answers; always stop everything in order."""
    is_ready = False
    try:
        supervisor.start()
        while not signals:
            if server is not None and not server.is_alive():
                _print_line("server", "died, restarting it")
                server.start()
            supervisor.poll(_POLL_SECONDS)
            if not is_ready and _is_alive(url):
                is_ready = True
                on_ready()
        _print_line("up", "stopping")
    finally:
        withdraw()
        supervisor.stop(in_a_hurry=lambda: len(signals) > 1)


@contextmanager
def _server(settings: Settings, is_cluster: bool) -> Iterator[tuple[str, EmbeddedServer | EmbeddedCluster | None]]:
    """Yield the URL of the server, and the server itself if it is the embedded one."""
    if settings.redis_url is not None:
        if is_cluster:
            raise SettingsError("--cluster starts a server, but REDIS_URL names another one")
        yield settings.redis_url, None
        return
    server = EmbeddedCluster() if is_cluster or (VAR / CLUSTER).is_dir() else EmbeddedServer()
    if server.start():
        _print_line("server", "already running in ./var, using it")
    with guarded():
        try:
            yield server.url, server
        finally:
            server.stop()


def _environment(settings: Settings, redis_url: str, host: str, port: int) -> dict[str, str]:
    defaults = {"LOG_FORMAT": "text", "PYTHONUNBUFFERED": "1"}
    fixed = {
        "API_HOST": host,
        "API_PORT": str(port),
        "WORKER_TOKEN_MIN_LENGTH": str(settings.worker_token_min_length),
    }
    environment = completed(local_defaults(redis_url, settings) | defaults) | fixed
    if SHARDS_FILE.parent.is_dir():
        SHARDS_FILE.write_text(environment.get("AVTOMATIKA_SHARDS", "1"))
    return environment


def _programs(environment: Mapping[str, str], worker: str | None, descriptor: int) -> Iterator[Program]:
    """Yield the programs in start order; they are stopped in reverse. The web listens on *descriptor*."""
    this = (sys.executable, "-m", "avtomatika.cli")
    listening = {**environment, LISTEN_VARIABLE: str(descriptor)}
    yield Program("web", SERVE, listening, stop_seconds=10.0, descriptors=(descriptor,))
    yield Program("orchestrator", (*this, "orchestrator"), environment, stop_seconds=15.0)
    if worker is None:
        _print_line("worker", "not started: ./worker.py does not exist, and --worker is not given")
    else:
        yield Program("worker", (*this, "worker", worker), environment, stop_seconds=30.0)


def _print_line(name: str, line: str) -> None:
    with suppress(OSError):  # the terminal was closed: still stop everything
        click.echo(f"{click.style(f'{name:12}', fg=_COLOURS.get(name, 'yellow'))} | {line}", err=True)
