from __future__ import annotations

import signal
from threading import Event, Lock, Thread

from avtomatika.stop_signals import calling_on_signals

DEADLINE_SECONDS = 30


def test_a_signal_is_handled_while_the_main_thread_holds_a_lock_that_stopping_needs() -> None:
    lock, stopped = Lock(), Event()

    def stop(number: int) -> None:
        if lock.acquire(timeout=DEADLINE_SECONDS):
            stopped.set()

    with calling_on_signals(stop):
        with lock:
            signal.raise_signal(signal.SIGTERM)
        assert stopped.wait(DEADLINE_SECONDS)


def test_each_signal_is_reported_and_the_handlers_before_are_restored() -> None:
    before, numbers = signal.getsignal(signal.SIGINT), list[int]()

    with calling_on_signals(numbers.append):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    assert numbers == [signal.SIGINT, signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_the_handlers_as_they_are() -> None:
    before, during = signal.getsignal(signal.SIGTERM), list[object]()

    def run() -> None:
        with calling_on_signals(lambda number: None):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=run)
    thread.start()
    thread.join(DEADLINE_SECONDS)

    assert during == [before]
