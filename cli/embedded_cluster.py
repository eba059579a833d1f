"""The embedded cluster of ``up --cluster``: three Valkey servers on this machine that share the slots of all keys."""

from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

from avtomatika.errors import UnavailableError
from avtomatika.local_installation import VAR
from avtomatika.store import RedisClient

from .embedded import CLUSTER, CONFIG, EmbeddedServer, cluster_url

_SLOTS = 16_384
_CONFIG = {**CONFIG, "cluster-enabled": "yes", "cluster-node-timeout": "5000"}
_READY_SECONDS = 60.0
_OK = b"cluster_state:ok"


class EmbeddedCluster:
    """The cluster of one ``var/`` folder, used like an ``EmbeddedServer``."""

    def __init__(self, var: Path = VAR, *, nodes: int = 3) -> None:
        self._nodes = [EmbeddedServer(var / CLUSTER / str(place), _CONFIG) for place in range(nodes)]

    @property
    def url(self) -> str:
        return cluster_url(self._nodes)

    def start(self) -> bool:
        """Start the nodes that do not run, and join them; return whether all were running."""
        were_running = [node.start() for node in self._nodes]
        self._join()
        return all(were_running)

    def is_alive(self) -> bool:
        """Return whether all nodes accept connections, or stall."""
        return all(node.is_alive() for node in self._nodes)

    def stop(self) -> None:
        """Shut all nodes down with their data on disk."""
        for node in self._nodes:
            node.stop()

    def _join(self) -> None:
        """Give each node its share of the slots, and let the nodes meet. A node refuses what it already has."""
        deadline = monotonic() + _READY_SECONDS
        host, _, port = self._nodes[0].address.partition(":")
        clients = [RedisClient.connect(node.url) for node in self._nodes]
        for place, client in enumerate(clients):
            first, end = (_SLOTS * number // len(clients) for number in (place, place + 1))
            slots = ("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            client.pipeline([slots, ("CLUSTER", "SET-CONFIG-EPOCH", place + 1), ("CLUSTER", "MEET", host, port)])
        for client in clients:
            with closing(client):
                while _OK not in client.execute(("CLUSTER", "INFO")):
                    if monotonic() > deadline:
                        raise UnavailableError("the nodes of the embedded cluster do not find each other")
                    sleep(0.1)
