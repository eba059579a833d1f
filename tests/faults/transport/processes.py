"""Consumer processes that can be killed and replaced within milliseconds: forked from a preloaded one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from random import Random
from time import sleep
from types import TracebackType

from .consumers import Post, bare

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["kombu.mixins", "kombu.transport.redis", "avtomatika.transport", __name__])

Consume = Callable[[Post], None]


class Consumers:
    """*count* processes that run *consume* at *post*."""

    def __init__(self, post: Post, count: int = 2, consume: Consume = bare) -> None:
        self._post = post
        self._consume = consume
        self._killed: set[int] = set()
        self._processes = [self._start() for _ in range(count)]

    def _start(self) -> multiprocessing.context.ForkServerProcess:
        process = _CONTEXT.Process(target=self._consume, args=(self._post,), daemon=True)
        process.start()
        return process

    def __enter__(self) -> Consumers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
            process.join()
            process.close()

    def replace(self, place: int) -> None:
        """Kill one with SIGKILL and immediately start another."""
        self._processes[place].kill()
        self._processes[place].join()
        self._processes[place].close()
        self._processes[place] = self._start()

    def replace_dead(self) -> None:
        """Replace dead processes."""
        for place, process in enumerate(self._processes):
            if process.exitcode is not None:
                self.replace(place)

    def kill(self, place: int) -> None:
        """Kill one without replacing it."""
        self._processes[place].kill()
        self._processes[place].join()
        self._killed.add(place)

    def storm(self, kills: int, chance: Random, *, pause_seconds: tuple[float, float] = (0.05, 0.15)) -> None:
        """Kill and replace single processes at random moments."""
        for _ in range(kills):
            sleep(chance.uniform(*pause_seconds))
            self.replace(chance.randrange(len(self._processes)))

    def suspend(self, place: int) -> None:
        os.kill(self._processes[place].pid or 0, signal.SIGSTOP)

    def resume(self, place: int) -> None:
        os.kill(self._processes[place].pid or 0, signal.SIGCONT)

    @property
    def deaths(self) -> list[int | None]:
        """Exit codes of processes that died on their own."""
        return [
            process.exitcode
            for place, process in enumerate(self._processes)
            if place not in self._killed and process.exitcode is not None
        ]
