"""A persistent publisher, and the setup of a fault: publisher, two consumers and their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from kombu import Exchange, Producer, Queue

from avtomatika.transport import NoRouteError

from ...support.waiting import wait_until
from . import queues
from .consumers import OPTIONS, QUEUE, Post, bare
from .ledger import Ledger
from .processes import Consume, Consumers

#: A publisher's reply timeout.
SOCKET_TIMEOUT_SECONDS = 1.0


class Traffic:
    """Publishes numbers in sequence. A number whose publish fails is not confirmed and not retried."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self.errors: Counter[str] = Counter()
        self.longest_seconds = 0.0
        self._url = url
        self._ledger = ledger
        self._stop = Event()
        self._thread = Thread(target=self._run, name="traffic")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with queues.connect(self._url, socket_timeout=SOCKET_TIMEOUT_SECONDS) as connection:
            producer = Producer(connection.channel(), auto_declare=False)
            failures = (*connection.connection_errors, *connection.channel_errors)
            number = 0
            while not self._stop.wait(0.003):
                number += 1
                began = monotonic()
                try:
                    producer.publish(str(number), exchange="storm", routing_key=QUEUE)
                except failures as error:
                    self.errors[type(error).__name__] += 1
                    self._declare_again(producer, error)
                    self._stop.wait(0.02)
                else:
                    self._ledger.confirm(number)
                self.longest_seconds = max(self.longest_seconds, monotonic() - began)

    @staticmethod
    def _declare_again(producer: Producer, error: Exception) -> None:
        if isinstance(error, NoRouteError):
            Queue(QUEUE, Exchange("storm"), routing_key=QUEUE)(producer.channel).declare()


@dataclass
class Scene:
    """*url* is the server itself, whichever route the others take."""

    url: str
    ledger: Ledger
    traffic: Traffic
    consumers: Consumers

    def goes_on(self, seconds: float = 20) -> None:
        """Wait until messages published from now on are confirmed and received."""
        begins = monotonic()

        def are_seen() -> bool:
            seen = self.ledger.seen
            later = [number for number, at in list(self.ledger.confirmed.items()) if at > begins]
            return len(later) >= 100 and all(number in seen for number in later[:50])

        wait_until(are_seen, seconds, "traffic after the fault")

    def end(self) -> None:
        """Stop publishing; wait until everything is consumed."""
        self.traffic.stop()
        wait_until(lambda: queues.waiting(self.url) == 0, 30, "an empty queue")

    @property
    def lost(self) -> list[int]:
        return self.ledger.lost(queues.left(self.url))

    def tell(self, fault: str) -> None:
        print(
            f"{fault}: {len(self.ledger.confirmed)} confirmed, {len(self.lost)} lost, {self.ledger.repeats} repeated, "
            f"longest publish {self.traffic.longest_seconds:.1f} s, errors {dict(self.traffic.errors)}"
        )


@contextmanager
def under_way(
    url: str, folder: Path, *, way: str | None = None, consume: Consume = bare, **options: Any
) -> Iterator[Scene]:
    """Traffic and two consumers on the server *url*, which they reach by the URL *way*."""
    ledger = Ledger(folder / "seen")
    queues.declare(url)
    options = {**OPTIONS, "socket_timeout": SOCKET_TIMEOUT_SECONDS, **options}
    post = Post(way or url, str(ledger.path), work_seconds=0.005, options=options)
    traffic = Traffic(way or url, ledger)
    with Consumers(post, consume=consume) as consumers:
        scene = Scene(url, ledger, traffic, consumers)
        traffic.start()
        try:
            scene.goes_on()
            yield scene
        finally:
            traffic.stop()
        assert consumers.deaths == [], "a consumer did not survive"
