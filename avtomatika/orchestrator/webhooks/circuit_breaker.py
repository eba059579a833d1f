"""When a webhook may be sent: so many at a time to one receiver, none to one that is away, and when to try again.

Decides; sends nothing. Time is what the caller says it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from avtomatika.core.retry import RetryPolicy
from avtomatika.schemas.wire import WebhookMessage

#: For how long a webhook is tried again.
GIVE_UP_AFTER_MS = 24 * 3600 * 1000
#: Most requests to one receiver at a time, from one orchestrator.
_AT_A_TIME = 4
#: As many time-outs or broken connections in a row, and it is asked only now and then.
_AWAY_AFTER = 3
#: 5 s, 10 s ... an hour: 32 attempts in a day.
_ATTEMPTS = RetryPolicy(max_retries=1_000_000, base_seconds=5, cap_seconds=3600, jitter=0.2)
#: Failing receivers that are remembered.
_MOST_KNOWN = 10_000
#: Between two looks at one that is away.
_LOOKS = RetryPolicy(max_retries=1_000_000, base_seconds=5, cap_seconds=300, jitter=0)
#: Before a webhook that met a busy receiver comes again.
_QUEUEING = RetryPolicy(max_retries=1_000_000, base_seconds=0.5, cap_seconds=60, jitter=0.5)


@dataclass(slots=True)
class _Receiver:
    in_flight: int = 0
    failures: int = 0
    closed_until: float = 0.0

    @property
    def is_away(self) -> bool:
        return self.failures >= _AWAY_AFTER


class CircuitBreakers:
    """What is known of all receivers, by origin; forgotten when there is nothing to remember."""

    def __init__(self) -> None:
        self._known: dict[str, _Receiver] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, origin: str, webhook: WebhookMessage, *, now: float) -> float | None:
        """None: send it, and say how it ended. Else the seconds after which to ask again."""
        receiver = self._known.setdefault(origin, _Receiver())
        if now < receiver.closed_until:
            return receiver.closed_until - now + _seconds(_QUEUEING, webhook.postponed + 1, webhook.id)
        if receiver.in_flight >= (1 if receiver.is_away else _AT_A_TIME):
            return _seconds(_QUEUEING, webhook.postponed + 1, webhook.id)
        receiver.in_flight += 1
        return None

    def ended(self, origin: str, *, was_away: bool, now: float) -> None:
        """A request that had begun is over; *was_away*: the receiver did not answer."""
        receiver = self._known[origin]
        receiver.in_flight -= 1
        receiver.failures = receiver.failures + 1 if was_away else 0
        if receiver.is_away:
            receiver.closed_until = now + _seconds(_LOOKS, receiver.failures - _AWAY_AFTER + 1, origin)
        elif not receiver.in_flight and not receiver.failures:
            del self._known[origin]
        if len(self._known) > _MOST_KNOWN:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the tenth that failed first: clients choose the addresses, so there may be any number of them."""
        idle = (origin for origin, receiver in self._known.items() if not receiver.in_flight)
        for origin in list(islice(idle, _MOST_KNOWN // 10)):
            del self._known[origin]


def next_attempt_in(webhook: WebhookMessage, *, now_ms: int) -> float | None:
    """Seconds until the attempt after the failed ``webhook.attempt``; None where a day is over."""
    delay_seconds = _seconds(_ATTEMPTS, webhook.attempt, webhook.id)
    return None if now_ms + delay_seconds * 1000 > webhook.at_ms + GIVE_UP_AFTER_MS else delay_seconds


def is_too_late(webhook: WebhookMessage, *, now_ms: int) -> bool:
    """Whether the day is over in which it was to be delivered."""
    return now_ms > webhook.at_ms + GIVE_UP_AFTER_MS


def _seconds(policy: RetryPolicy, attempt: int, name: str) -> float:
    delay = policy.delay_after(attempt, name=name)
    return policy.cap_seconds if delay is None else delay.total_seconds()
