"""Several links of one worker, each in its own threads, so that none waits for another."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from avtomatika.broker.backoff import Backoff

logger = logging.getLogger(__name__)


class Link(Protocol):
    """A connection to one address, over any protocol."""

    def run(self) -> None:
        """Take tasks and send results until :meth:`stop`; then drain running tasks and requeue unfinished ones."""

    def stop(self) -> None:
        """Take no new tasks. Returns at once; safe in signal handlers."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """Creates a link, again if it breaks; *name* is its address."""

    name: str
    make: Callable[[], Link]


class LinkGroup:
    """Runs one link for each of *specs* until stopped."""

    def __init__(self, specs: Sequence[LinkSpec]) -> None:
        self._specs = specs
        self._running: dict[str, Link] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        for link in list(self._running.values()):
            link.stop()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._keep_running, args=(f"{number}", spec), name=f"link-{number}", daemon=True)
            for number, spec in enumerate(self._specs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # wake up regularly, so that signal handlers can run
                thread.join(0.5)

    def _keep_running(self, number: str, spec: LinkSpec) -> None:
        def run_link() -> None:
            link = self._running[number] = spec.make()
            if self._stopping.is_set():
                link.stop()
            link.run()

        backoff = Backoff(logger, f"restarting the link to {spec.name}")
        backoff.run(run_link, until=self._stopping.is_set, wait=self._stopping.wait)
