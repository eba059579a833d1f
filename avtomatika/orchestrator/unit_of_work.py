"""A job in flight: the events received for it and the step they lead to.

Events of one job in one batch are combined: the job is written once.
"""

import logging
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Any, Self

from avtomatika.broker import Delivery, Outgoing, forwarded_headers
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.data_store import Data
from avtomatika.core.blueprint.handler import choose
from avtomatika.core.blueprint.job_context import ClientInfo, JobContext, ValuesNotLoadedError
from avtomatika.core.events import DeadLetter, Event, PlaceTask, Result, TaskTimeout
from avtomatika.core.file_reference import FileReference, references_in, with_values
from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Job, Json
from avtomatika.core.machine import decisions, plan_migration
from avtomatika.core.plan import STEPS
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step
from avtomatika.core.texts import shortened
from avtomatika.errors import HandlerError
from avtomatika.files.job_values import JobValues
from avtomatika.schemas import wire
from avtomatika.store import Cause, Commit

from .data_stores import DataStores, MemoryData
from .handler_call import HandlerDisplacedError
from .large_values import store_large_values
from .step_records import begin_step, recorded

logger = logging.getLogger(__name__)

#: Returns the client of a name; an unknown one has only its name.
ClientOf = Callable[[str], ClientInfo]
#: Returns the ``task_files`` of a handler for a job; the second argument is whether the handler is async.
FilesOf = Callable[[Job, bool], object]


def no_files(job: Job, is_async: bool) -> None:
    """Return None: no S3 is configured."""


@dataclass(frozen=True, slots=True)
class HandlerServices:
    """Handler arguments besides the job: its client, the *data* shared by its jobs, its files and *values* in S3."""

    client_of: ClientOf = ClientInfo
    data: Data = field(default_factory=MemoryData)
    files_of: FilesOf = no_files
    values: JobValues | None = None


#: Results of the branches of a job without a fan-out.
_NO_ANSWERS: Mapping[str, Json] = {}
#: Prefix of the dead letter reason of a rejected result, where the task itself is fine.
REFUSED = "forged: "


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event and its delivery."""

    delivery: Delivery
    event: Event
    #: The step queue under the job's current plan, if the event came by another.
    queue: str | None = None

    @classmethod
    def read(cls, delivery: Delivery, check: wire.Check | None = None) -> Self:
        """Decode *delivery*. Raises InvalidMessageError, and the errors of *check*."""
        event = wire.load_event(delivery.body, check)
        if isinstance(event, DeadLetter):  # its body was written before the cause was known
            why = str(delivery.headers.get("x-death-reason", event.reason))
            reason = f"{why}, after {delivery.headers.get('x-deliveries', '?')} deliveries"
            event = replace(event, reason=reason, is_refused=why.startswith(REFUSED))
        return cls(delivery, event)

    def under(self, routing_key: str) -> Outgoing:
        """Return the same event for publication with *routing_key*."""
        return Outgoing(
            STEPS, routing_key, self.delivery.body.decode(), headers=forwarded_headers(self.delivery.headers)
        )


class Work:
    """A *job* as loaded, with the *answers* of its branches, and all decisions until they are committed."""

    def __init__(
        self,
        job: Job,
        blueprint: Blueprint,
        events: list[ReceivedEvent],
        *,
        rules: Rules,
        services: HandlerServices,
        answers: Mapping[str, Json] = _NO_ANSWERS,
    ) -> None:
        self.before = job
        self.blueprint = blueprint
        self.plan = blueprint.plan
        self.step = Step(job)
        self.answered: list[ReceivedEvent] = []
        self.ignored: list[tuple[ReceivedEvent, Mapping[str, Json]]] = []
        #: Deliveries that arrived while this was in flight: the next work on the same job.
        self.later: list[Delivery] = []
        self.span = begin_step(job, [received.event for received in events])
        #: Number of commit retries.
        self.tries = 0
        self._events = deque(events)
        self._rules = rules
        self._services = services
        self._answers = answers
        self._queue: str | None = None
        self._call: _HandlerCall | None = None
        #: The reason for which large values could not be stored.
        self.storage_error: BaseException | None = None
        self._values: dict[str, Json] | None = None if services.values is None else {}
        self._references: list[FileReference] = []
        #: Applies the result of loading or storing values, while that runs.
        self._apply: Callable[[Any, BaseException | None], None] | None = None

    @property
    def job_id(self) -> str:
        return self.before.id

    @property
    def events(self) -> list[ReceivedEvent]:
        """Every event received for it."""
        return [*self.answered, *(received for received, _ in self.ignored), *self._events]

    def advance(self) -> Callable[[], Any] | None:
        """Continue until a handler must decide, and return it, ready to be called; None if only the commit is left. If
        the handler needs values in S3, the function loads them.

        If :attr:`is_async`, its return value must be awaited.
        """
        while True:
            if self.step.enter is not None:
                try:
                    self._call = _HandlerCall(
                        self.blueprint, self.step.job, self.step.enter, self._services, self._answers, self._values
                    )
                except ValuesNotLoadedError as error:
                    return self._load(error.references)
                except HandlerError as error:
                    self._add(decisions.broken(self.step.job, message=str(error)))
                    continue
                return recorded(self._call.run, self.before, self.span, is_async=self.is_async)
            if not self._events:
                return None
            if missing := self._unchecked_values(self._events[0].event):
                return self._load(missing)
            self._take(self._events[0])
            self._events.popleft()

    @property
    def is_async(self) -> bool:
        """True if the handler of :meth:`advance` must be awaited."""
        return self._call is not None and self._call.is_async

    def decided(self, returned: Any, raised: BaseException | None) -> None:
        """Apply the handler's decision or exception."""
        call, job = self._call, self.step.job
        if self._apply is not None:
            apply, self._apply = self._apply, None
            if not isinstance(raised, HandlerDisplacedError):
                apply(returned, raised)
            return
        if call is None:
            raise RuntimeError(f"job {self.job_id}: no handler is running")
        self._call = None
        if isinstance(
            raised, HandlerDisplacedError
        ):  # not its fault: it is called again, and this counts as no failure
            return
        try:
            if raised is not None:
                raise raised
            action, patch = call.decision(returned)
            step = decisions.decide(self.plan, job, action, queue=self._queue, patch=patch, rules=self._rules)
        except HandlerError as error:
            logger.error("job %s: %s", self.job_id, shortened(str(error)))
            step = decisions.broken(job, message=str(error))
        except BaseException as error:  # user code may raise anything
            text = "".join(traceback.format_exception(error))
            reason = shortened(text.strip().rpartition("\n")[2])
            logger.warning("job %s: the handler of state %s raised %s", self.job_id, job.current_state, reason)
            step = decisions.handler_raised(self.plan, job, error=text)
        self._add(step)

    def store_values(self) -> Callable[[], Step]:
        """Return the function that stores the large values of the step; its result goes to :meth:`decided`."""
        self._apply = self._stored
        return partial(store_large_values, self.before, self.step, self._in_s3, loaded=tuple(self._references))

    @property
    def _in_s3(self) -> JobValues:
        if self._services.values is None:
            raise RuntimeError(f"job {self.job_id}: no S3 is configured")
        return self._services.values

    def _stored(self, step: Step, raised: BaseException | None) -> None:
        self.storage_error = raised
        if raised is None:
            self.step = step

    def _load(self, references: Sequence[FileReference]) -> Callable[[], Mapping[str, Json]]:
        self._apply = self._loaded
        self._references += references
        return partial(self._in_s3.load, self.step.job, references)

    def _loaded(self, values: Mapping[str, Json], raised: BaseException | None) -> None:
        """Continue with loaded *values*. An error counts as one of the handler."""
        if raised is None:
            self._values = {**(self._values or {}), **values}
        else:
            logger.warning("job %s: the values of its handler cannot be loaded: %s", self.job_id, raised)
            self._add(decisions.handler_raised(self.plan, self.step.job, error=f"{type(raised).__name__}: {raised}"))

    def fail(self, reason: str) -> None:
        """Replace the step that cannot be committed: the job ends with an error for *reason*."""
        logger.error("job %s: %s", self.job_id, reason)
        self.step = decisions.too_large(self.before, message=reason)

    def commit(self) -> Commit | None:
        """Return the commit, or None if every event was ignored."""
        if not self.answered:
            return None
        return Commit(self.before, self.step, tuple(_cause(received) for received in self.answered))

    def _take(self, received: ReceivedEvent) -> None:
        queue, event = received.queue or received.delivery.queue, received.event
        if isinstance(event, Result) and self._values:
            event = replace(event, data=with_values(event.data, self._values))
        step = plan_migration.advance(self.plan, self.step.job, event, queue=queue, rules=self._rules)
        if step.note is not None:
            self.ignored.append((received, step.note))
            return
        self._queue = queue
        self.answered.append(received)
        self._add(step)

    def _unchecked_values(self, event: Event) -> list[FileReference]:
        """Return the values to load before *event*: those of a result that is checked against a schema."""
        if self._values is None or not isinstance(event, Result):
            return []
        task = self.step.job.tasks.get(event.task_id)
        if task is None or task.output_schema is None:
            return []
        return [reference for reference in references_in(event.data) if reference.uri not in self._values]

    def _add(self, step: Step) -> None:
        self.step = self.step.then(step)


class _HandlerCall:
    """The handler of a state with its arguments bound. Raises HandlerError if it cannot be called."""

    def __init__(
        self,
        blueprint: Blueprint,
        job: Job,
        state: str,
        services: HandlerServices,
        answers: Mapping[str, Json],
        values: Mapping[str, Json] | None,
    ) -> None:
        self.actions = Actions()
        self.context = JobContext(job, actions=self.actions, client=services.client_of(job.client), values=values)
        self.state = blueprint.plan.states[state]
        if self.state.is_aggregator:
            self.context.aggregation_results.update(self.context.with_loaded(answers))
        self.handler = choose(blueprint.handlers[state], self.context)
        if blueprint.data_stores:
            self.context.data_stores = DataStores(blueprint, services.data, is_async=self.handler.is_async)
        self.context.task_files = services.files_of(job, self.handler.is_async)
        self.arguments = self.handler.bind(self.context)
        self.is_async = self.handler.is_async

    def run(self) -> Any:
        return self.handler.function(**self.arguments)

    def decision(self, returned: Any) -> tuple[Any, Mapping[str, Json]]:
        return self.actions.decision(returned, self.state), self.context.patch()


def _cause(received: ReceivedEvent) -> Cause:
    event = received.event
    closes = (event.task_id, event.attempt) if isinstance(event, Result | TaskTimeout | PlaceTask) else None
    return Cause(received.delivery.tag, event.id, closes)
