"""One reason in an explanation, and the phrases that all explanations use."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import Json
from avtomatika.core.times import utc

from .facts import Facts, QueuePlace

#: An expired timer should have been handled within this time.
_NOTICED_WITHIN_MS = 5000
#: Longest first, in seconds.
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(duration_ms: int) -> str:
    """Return a duration in its two largest units.

    >>> span(90_061_000), span(59_400), span(-3)
    ('1 day 1 hour', '59 seconds', '0 seconds')
    """
    left = max(duration_ms, 0) // 1000
    for place, (size, name) in enumerate(_UNITS):
        if left >= size or size == 1:
            words = [count(left // size, name)]
            if size > 1 and (rest := left % size // _UNITS[place + 1][0]):
                words.append(count(rest, _UNITS[place + 1][1]))
            return " ".join(words)
    return ""


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def counted(words: Iterable[str]) -> str:
    """Return how often each of *words* occurs.

    >>> counted(["idle", "busy", "idle"])
    '1 busy, 2 idle'
    """
    return ", ".join(f"{number} {word}" for word, number in sorted(Counter(words).items()))


@dataclass(frozen=True, slots=True)
class Reason:
    """*code* is for programs, *text* for people; *job_id* is the job concerned, possibly a child."""

    code: str
    text: str
    job_id: str
    facts: Mapping[str, Json] = field(default_factory=dict)


class Explanation:
    """Builds reasons from *facts*."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.job = facts.job

    def reason(self, code: str, text: str, **facts: Json) -> Reason:
        return Reason(code, text, self.job.id, facts)

    def since(self) -> str:
        return f"for {span(self.facts.now_ms - self.job.updated_ms)}"

    def at(self, then_ms: int) -> str:
        return f"in {span(then_ms - self.facts.now_ms)}" if then_ms > self.facts.now_ms else "now"

    def by(self, then_ms: int) -> str:
        left_ms = then_ms - self.facts.now_ms
        return f"within {span(left_ms)}" if left_ms > 0 else "now"

    def paused(self, place: QueuePlace | None) -> Iterator[Reason]:
        if place is not None and place.paused_ms is not None and place.holder is None:
            subject = f"The queue {place.queue!r}"
            yield self.paused_by("queue_paused", subject, place.paused_ms, place.paused_by, queue=place.queue)

    def paused_by(self, code: str, subject: str, since_ms: int, by: str | None, **facts: Json) -> Reason:
        text = f"{subject} has been paused since {utc(since_ms):%Y-%m-%d %H:%M} UTC, by {by!r}. Resume it."
        return self.reason(code, text, **facts, by=by, since_ms=since_ms)

    def overdue(self, due_ms: int) -> Iterator[Reason]:
        if self.facts.now_ms - due_ms > _NOTICED_WITHIN_MS:
            over = span(self.facts.now_ms - due_ms)
            text = f"It is overdue by {over}: no orchestrator delivers due timers."
            yield self.reason("timer_overdue", text, due_ms=due_ms)
