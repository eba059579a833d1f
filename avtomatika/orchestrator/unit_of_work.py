"""One job in hand: the events that came for it, and the step that they lead to.

Events of one job that lie in one batch are folded: however many they are, the job is written once.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from avtomatika.broker import Delivery, Outgoing, forwarded_headers
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.data_store import Data
from avtomatika.core.blueprint.handler import choose
from avtomatika.core.blueprint.job_context import ClientInfo, JobContext
from avtomatika.core.events import DeadLetter, Event, PlaceTask, Result, TaskTimeout
from avtomatika.core.job import Job, Json
from avtomatika.core.machine import machine
from avtomatika.core.machine import plan_migration as succession
from avtomatika.core.plan import STEPS
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step
from avtomatika.core.texts import shortened
from avtomatika.errors import HandlerError
from avtomatika.schemas import wire
from avtomatika.store import Cause, Commit

from .data_stores import DataStores, MemoryData
from .handler_call import HandlerDisplacedError

logger = logging.getLogger(__name__)

#: Who a client is, by name; there may be no more than the name to tell.
ClientOf = Callable[[str], ClientInfo]
#: What a handler of a job gets as ``task_files``; the second is whether it is async.
FilesOf = Callable[[Job, bool], object]


def no_files(job: Job, is_async: bool) -> None:
    """Where nothing is said of S3."""


@dataclass(frozen=True, slots=True)
class HandlerServices:
    """What handlers see besides their job: who its client is, the *data* that the jobs of a blueprint share, files."""

    client_of: ClientOf = ClientInfo
    data: Data = field(default_factory=MemoryData)
    files_of: FilesOf = no_files


#: What came of the branches of a job that has none.
_NO_ANSWERS: Mapping[str, Json] = {}


#: How the reason begins for which an answer to a task is a dead letter, though nothing is wrong with the task.
REFUSED = "forged: "


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event and the delivery that brought it."""

    delivery: Delivery
    event: Event
    #: The step queue of its job's present plan that it would have come by, where it came by another.
    here: str | None = None

    @classmethod
    def read(cls, delivery: Delivery, check: wire.Check | None = None) -> ReceivedEvent:
        """Raises InvalidMessageError where *delivery* holds no event, and what *check* has against it."""
        event = wire.load_event(delivery.body, check)
        if isinstance(event, DeadLetter):  # it was written before anybody knew what would happen
            why = str(delivery.headers.get("x-death-reason", event.reason))
            reason = f"{why}, after {delivery.headers.get('x-deliveries', '?')} deliveries"
            event = replace(event, reason=reason, is_refused=why.startswith(REFUSED))
        return cls(delivery, event)

    def under(self, routing_key: str) -> Outgoing:
        """The same event, sent on by *routing_key*."""
        return Outgoing(
            STEPS, routing_key, self.delivery.body.decode(), headers=forwarded_headers(self.delivery.headers)
        )


class Work:
    """*job* as loaded, with the *answers* of its branches, and everything that is decided until it is committed."""

    def __init__(
        self,
        job: Job,
        blueprint: Blueprint,
        arrivals: list[ReceivedEvent],
        *,
        rules: Rules,
        surroundings: HandlerServices,
        answers: Mapping[str, Json] = _NO_ANSWERS,
    ) -> None:
        self.before = job
        self.blueprint = blueprint
        self.plan = blueprint.plan
        self.step = Step(job)
        self.answered: list[ReceivedEvent] = []
        self.ignored: list[tuple[ReceivedEvent, Mapping[str, Json]]] = []
        #: Came while this was being worked on: the next work on the same job.
        self.later: list[Delivery] = []
        #: How often its commit had to be tried again.
        self.tries = 0
        self._arrivals = deque(arrivals)
        self._rules = rules
        self._surroundings = surroundings
        self._answers = answers
        self._here: str | None = None
        self._call: _HandlerCall | None = None

    @property
    def job_id(self) -> str:
        return self.before.id

    @property
    def arrivals(self) -> list[ReceivedEvent]:
        """Every event that came for it."""
        return [*self.answered, *(arrival for arrival, _ in self.ignored), *self._arrivals]

    def advance(self) -> Callable[[], Any] | None:
        """Go on until a handler must decide: answers it, ready to be called; None when nothing is left but to commit.

        :attr:`is_async` tells whether what it returns must be awaited.
        """
        while True:
            if self.step.enter is not None:
                try:
                    self._call = _HandlerCall(
                        self.blueprint, self.step.job, self.step.enter, self._surroundings, self._answers
                    )
                except HandlerError as error:
                    self._add(machine.broken(self.plan, self.step.job, message=str(error)))
                    continue
                return self._call.run
            if not self._arrivals:
                return None
            self._take(self._arrivals[0])
            self._arrivals.popleft()

    @property
    def is_async(self) -> bool:
        """Whether what :meth:`advance` answered must be awaited."""
        return self._call is not None and self._call.is_async

    def decided(self, returned: Any, raised: BaseException | None) -> None:
        """The handler has come to an end."""
        call, job = self._call, self.step.job
        if call is None:
            raise RuntimeError(f"job {self.job_id}: nobody had been asked to decide")
        self._call = None
        if isinstance(
            raised, HandlerDisplacedError
        ):  # it was not at fault: it is called again, and that counts as no failure
            return
        try:
            if raised is not None:
                raise raised
            action, patch = call.decision(returned)
            step = machine.decide(self.plan, job, action, here=self._here, patch=patch, rules=self._rules)
        except HandlerError as error:
            logger.error("job %s: %s", self.job_id, shortened(str(error)))
            step = machine.broken(self.plan, job, message=str(error))
        except BaseException as error:  # whatever user code raises is the job's affair, not ours
            text = "".join(traceback.format_exception(error))
            reason = shortened(text.strip().rpartition("\n")[2])
            logger.warning("job %s: the handler of state %s raised %s", self.job_id, job.current_state, reason)
            step = machine.handler_raised(self.plan, job, error=text)
        self._add(step)

    def give_up(self, reason: str) -> None:
        """In place of the step that cannot be committed, the job ends as an error for *reason*."""
        logger.error("job %s: %s", self.job_id, reason)
        self.step = machine.too_large(self.before, message=reason)

    def commit(self) -> Commit | None:
        """The commit of all this, or None where every event was ignored."""
        if not self.answered:
            return None
        return Commit(self.before, self.step, tuple(_cause(arrival) for arrival in self.answered))

    def _take(self, arrival: ReceivedEvent) -> None:
        here = arrival.here or arrival.delivery.queue
        step = succession.advance(self.plan, self.step.job, arrival.event, here=here)
        if step.note is not None:
            self.ignored.append((arrival, step.note))
            return
        self._here = here
        self.answered.append(arrival)
        self._add(step)

    def _add(self, step: Step) -> None:
        self.step = self.step.then(step)


class _HandlerCall:
    """The handler of one state with its arguments bound. Raises HandlerError where there is none that can be called."""

    def __init__(
        self,
        blueprint: Blueprint,
        job: Job,
        state: str,
        surroundings: HandlerServices,
        answers: Mapping[str, Json],
    ) -> None:
        self.recorder = Actions()
        self.context = JobContext(job, actions=self.recorder, client=surroundings.client_of(job.client))
        self.state = blueprint.plan.states[state]
        if self.state.is_aggregator:
            self.context.aggregation_results = answers
        self.handler = choose(blueprint, state, self.context)
        if blueprint.data_stores:
            self.context.data_stores = DataStores(blueprint, surroundings.data, is_async=self.handler.is_async)
        self.context.task_files = surroundings.files_of(job, self.handler.is_async)
        self.arguments = self.handler.bind(self.context)
        self.is_async = self.handler.is_async

    def run(self) -> Any:
        return self.handler.function(**self.arguments)

    def decision(self, returned: Any) -> tuple[Any, Mapping[str, Json]]:
        return self.recorder.decision(returned, self.state), self.context.patch()


def _cause(arrival: ReceivedEvent) -> Cause:
    event = arrival.event
    closes = (event.task_id, event.attempt) if isinstance(event, Result | TaskTimeout | PlaceTask) else None
    return Cause(arrival.delivery.tag, event.id, closes)
