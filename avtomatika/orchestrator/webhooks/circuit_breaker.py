"""Circuit breakers of webhook receivers: limit concurrent requests, skip unreachable ones, schedule retries.

They only decide, and take the time from the caller.
"""

from dataclasses import dataclass
from itertools import islice

from avtomatika.core.retry import RetryPolicy
from avtomatika.core.times import in_seconds
from avtomatika.schemas.wire import WebhookMessage

#: Retry period of a webhook.
GIVE_UP_AFTER_MS = 24 * 3600 * 1000
#: Maximum concurrent requests to one receiver, from one orchestrator.
_MAX_IN_FLIGHT = 4
#: Timeouts or broken connections in a row that open a breaker.
_OPEN_AFTER_FAILURES = 3
#: 5 s, 10 s ... an hour: 32 attempts in a day.
_ATTEMPTS = RetryPolicy(max_retries=1_000_000, delay=5, max_delay=3600, jitter=0.2)
#: Maximum number of failing receivers that are remembered.
_MAX_REMEMBERED = 10_000
#: Delay between two probes of an unreachable receiver.
_PROBES = RetryPolicy(max_retries=1_000_000, delay=5, max_delay=300, jitter=0)
#: Delay of a webhook whose receiver is busy.
_QUEUEING = RetryPolicy(max_retries=1_000_000, delay=0.5, max_delay=60, jitter=0.5)


@dataclass(slots=True)
class _Breaker:
    in_flight: int = 0
    failures: int = 0
    retry_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.failures >= _OPEN_AFTER_FAILURES


class CircuitBreakers:
    """Breakers by origin; one without failures or requests is forgotten."""

    def __init__(self) -> None:
        self._by_origin: dict[str, _Breaker] = {}

    def __len__(self) -> int:
        return len(self._by_origin)

    def acquire(self, origin: str, webhook: WebhookMessage, *, now: float) -> float | None:
        """Return None to send now, followed by :meth:`release`; otherwise the seconds after which to ask again."""
        breaker = self._by_origin.setdefault(origin, _Breaker())
        if now < breaker.retry_at:
            return breaker.retry_at - now + _seconds(_QUEUEING, webhook.postponed + 1, webhook.id)
        if breaker.in_flight >= (1 if breaker.is_open else _MAX_IN_FLIGHT):
            return _seconds(_QUEUEING, webhook.postponed + 1, webhook.id)
        breaker.in_flight += 1
        return None

    def release(self, origin: str, *, is_unreachable: bool, now: float) -> None:
        """Record the end of a request; *is_unreachable*: the receiver did not answer."""
        breaker = self._by_origin[origin]
        breaker.in_flight -= 1
        breaker.failures = breaker.failures + 1 if is_unreachable else 0
        if breaker.is_open:
            breaker.retry_at = now + _seconds(_PROBES, breaker.failures - _OPEN_AFTER_FAILURES + 1, origin)
        elif not breaker.in_flight and not breaker.failures:
            del self._by_origin[origin]
        if len(self._by_origin) > _MAX_REMEMBERED:
            # Clients choose the URLs, so the number of origins is unlimited: forget the oldest tenth.
            idle = (origin for origin, breaker in self._by_origin.items() if not breaker.in_flight)
            for forgotten in list(islice(idle, _MAX_REMEMBERED // 10)):
                del self._by_origin[forgotten]


def next_attempt_in(webhook: WebhookMessage, *, now_ms: int) -> float | None:
    """Return the seconds until the attempt after the failed ``webhook.attempt``, or None after a day."""
    delay_seconds = _seconds(_ATTEMPTS, webhook.attempt, webhook.id)
    return None if now_ms + delay_seconds * 1000 > webhook.at_ms + GIVE_UP_AFTER_MS else delay_seconds


def is_expired(webhook: WebhookMessage, *, now_ms: int) -> bool:
    """Return True if the day within which to deliver it has passed."""
    return now_ms > webhook.at_ms + GIVE_UP_AFTER_MS


def _seconds(policy: RetryPolicy, attempt: int, name: str) -> float:
    delay = policy.delay_after(attempt, name=name)
    return in_seconds(policy.max_delay) if delay is None else delay.total_seconds()
