"""Several links of one worker, each in threads of its own: none waits for another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from avtomatika.broker.backoff import pause_seconds

from .link import Link

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A link that is made anew when it breaks; *name* is its address."""

    name: str
    make: Callable[[], Link]


class LinkGroup:
    """Runs a link for each of *members* until it is stopped."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._running: dict[str, Link] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        for link in list(self._running.values()):
            link.stop()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._run_on, args=(f"{number}", member), name=f"link-{number}", daemon=True)
            for number, member in enumerate(self._members)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # in short steps: signals are handled in between
                thread.join(0.5)

    def _run_on(self, number: str, member: Member) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                link = self._running[number] = member.make()
                if self._stopping.is_set():
                    link.stop()
                link.run()
            except Exception:  # the others work on, and so may this one
                failures += 1
                logger.exception("the link to %s broke; beginning anew", member.name)
                self._stopping.wait(pause_seconds(failures))
