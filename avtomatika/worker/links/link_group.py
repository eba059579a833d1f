"""Several links of one worker, each in its own threads, so that none waits for another."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from avtomatika.broker.backoff import Backoff

logger = logging.getLogger(__name__)


class Link(Protocol):
    """A connection to one address, over any protocol."""

    def run(self) -> None:
        """Take tasks and send results until :meth:`stop`; then drain running tasks and requeue unfinished ones."""

    def stop(self) -> None:
        """Take no new tasks. Returns at once. Any thread may call it, but no signal handler."""


class LinkGroup:
    """Runs several links until stopped: *links* are their addresses, and functions that create them, again if they
    break."""

    def __init__(self, links: Sequence[tuple[str, Callable[[], Link]]]) -> None:
        self._links = links
        self._running: dict[int, Link] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        for link in list(self._running.values()):
            link.stop()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._keep_running, args=(number, *link), name=f"link-{number}", daemon=True)
            for number, link in enumerate(self._links)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # wake up regularly, so that signal handlers can run
                thread.join(0.5)

    def _keep_running(self, number: int, address: str, make: Callable[[], Link]) -> None:
        def run_link() -> None:
            link = self._running[number] = make()
            if self._stopping.is_set():
                link.stop()
            link.run()

        backoff = Backoff(logger, f"restarting the link to {address}")
        backoff.run(run_link, until=self._stopping.is_set, wait=self._stopping.wait)
