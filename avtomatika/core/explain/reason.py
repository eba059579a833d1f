"""One reason in an explanation, and the phrases that all explanations use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import Json

from .durations import span
from .facts import Facts

#: An expired timer should have been handled within this time.
_NOTICED_WITHIN_MS = 5000


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

    def overdue(self, due_ms: int) -> Iterator[Reason]:
        if self.facts.now_ms - due_ms > _NOTICED_WITHIN_MS:
            over = span(self.facts.now_ms - due_ms)
            text = f"It is overdue by {over}: no orchestrator delivers due timers."
            yield self.reason("timer_overdue", text, due_ms=due_ms)
