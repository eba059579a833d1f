"""``Blueprint``: a workflow as a state machine whose handlers are marked by decorators."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from avtomatika.core.compiler.compiler import compile_blueprint
from avtomatika.core.job import Json
from avtomatika.core.job_request import ON_CONFLICT
from avtomatika.core.jsonable import as_json
from avtomatika.core.limits import KeyTemplate, LimitValues
from avtomatika.core.names import is_user_name
from avtomatika.core.plan import EndKind, Plan
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.schedule import Schedule
from avtomatika.core.times import SECONDS, Duration, in_seconds, is_seconds
from avtomatika.core.value_types import object_type, value_type
from avtomatika.errors import BlueprintError, HandlerError, InvalidRequestError

from .conditions import Condition
from .handler import NAME_RULE, Function, Handler, handler_problem, line_of

H = TypeVar("H", bound=Function)

#: A path below ``/api/v1``: names, separated by single slashes.
_ENDPOINT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


class StateOptions(TypedDict, total=False):
    """Options of a state. ``is_end="failed"``, or an end state named ``failed``, makes jobs end as failed. *queue*
    gives the state a step queue of its own. *may_go_to* lists target states that cannot be read from the source of the
    function. A *retired* state is entered by no new job; its handler stays for jobs that are in it when the code
    changes."""

    is_end: bool | Literal["failed"]
    queue: str | None
    may_go_to: Iterable[str] | None
    retired: bool


class Blueprint:
    """A workflow.

    ``name`` is part of queue names and routing keys. With an ``api_endpoint``, jobs are created over HTTP by ``POST
    /api/<api_version>/<api_endpoint>``.
    """

    def __init__(
        self,
        name: str,
        api_version: str = "v1",
        api_endpoint: str | None = None,
        *,
        execution_timeout: Duration | None = None,
        max_retries: int | None = None,
        retry: RetryPolicy | None = None,
        max_transitions: int | None = None,
        fairness_key: str | None = None,
        unique_key: str | None = None,
        on_conflict: str | None = None,
        input: Any = None,
        output: Any = None,
    ) -> None:
        """Create a blueprint without states.

        *execution_timeout* limits the duration of a job (seconds or a timedelta) unless its creator sets another limit.
        *retry* says which failures of tasks are retried and after which delays, unless their handler does;
        *max_retries* sets only the number. *max_transitions* is the number of states that a job may enter in a row
        without waiting for a task, a time, a person or another job (default: the setting ``MAX_TRANSITIONS_PER_JOB``).
        Tasks of jobs with different values of *fairness_key*, such as ``{initial_data[tenant]}``, take turns; by
        default those of different clients. *unique_key*, such as ``order-{initial_data[order]}``, lets only one of a
        client's jobs with the same value run at a time; *on_conflict* is that of a job that gives none.

        *input* is the type of ``initial_data``: a dataclass, a TypedDict, a pydantic model or a marshmallow schema. A
        job whose data do not fit is not created. *output* is the type of the result of finished jobs, with any
        annotation that fields may have; a job whose result does not fit fails.
        """
        self.name = name
        self.api_version = api_version
        self.api_endpoint = api_endpoint
        self.execution_timeout_seconds = None if execution_timeout is None else in_seconds(execution_timeout)
        self.max_transitions = max_transitions
        self.input = input
        self.output = output
        #: The handlers of each state in the order in which they are tried.
        self.handlers: dict[str, tuple[Handler, ...]] = {}
        self._data_stores: dict[str, Mapping[str, Json]] = {}
        self.schedules: dict[str, Schedule] = {}
        self._plan: Plan | None = None
        if not is_user_name(name):
            raise self._refusal(f"its name {NAME_RULE}")
        if not is_user_name(api_version):
            raise self._refusal(f"api_version {api_version!r} {NAME_RULE}")
        if execution_timeout is not None and not is_seconds(self.execution_timeout_seconds):
            raise self._refusal(f"execution_timeout must be {SECONDS}, not {execution_timeout!r}")
        if max_transitions is not None and (type(max_transitions) is not int or max_transitions < 1):
            raise self._refusal(f"max_transitions must be a whole number of at least 1, not {max_transitions!r}")
        self.retry = self._retry(retry, max_retries)
        #: The functions that have limits.
        self.limits: list[tuple[Function, KeyTemplate, LimitValues]] = []
        self.fairness_key = None if fairness_key is None else self._template("fairness_key", fairness_key)
        self.unique_key = None if unique_key is None else self._template("unique_key", unique_key)
        self.on_conflict = on_conflict
        if on_conflict not in (None, *ON_CONFLICT):
            raise self._refusal(f"on_conflict must be one of {', '.join(ON_CONFLICT)}, not {on_conflict!r}")
        self._check_types()
        if api_endpoint is not None and not (isinstance(api_endpoint, str) and _ENDPOINT.fullmatch(api_endpoint)):
            raise self._refusal(
                f"api_endpoint {api_endpoint!r} must be a path like 'jobs/video', without a leading '/'"
            )

    def _check_types(self) -> None:
        for name, annotation, type_of in (("input", self.input, object_type), ("output", self.output, value_type)):
            try:
                type_of(Any if annotation is None else annotation)
            except TypeError as error:
                raise self._refusal(f"{name}: {error}") from None

    def _retry(self, retry: object, max_retries: int | None) -> RetryPolicy | None:
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise self._refusal(f"retry must be a RetryPolicy, not {retry!r}")
        if max_retries is None:
            return retry
        try:
            return replace(retry or RetryPolicy(), max_retries=max_retries)
        except ValueError as error:
            raise self._refusal(str(error)) from None

    def __repr__(self) -> str:
        return f"Blueprint({self.name!r})"

    @property
    def states(self) -> tuple[str, ...]:
        """Names of all states in the order of their definition."""
        return tuple(self.handlers)

    @property
    def data_stores(self) -> Mapping[str, Mapping[str, Json]]:
        """Initial values of all data stores, by name."""
        return self._data_stores

    def add_data_store(self, name: str, initial: Mapping[str, Json] | None = None) -> None:
        """Add a store that all jobs of this blueprint share; handlers get it as ``data_stores[name]``.

        *initial* has the values of keys that were never set.
        """
        if not is_user_name(name):
            raise self._refusal(f"the name of the data store {name!r} {NAME_RULE}")
        if name in self._data_stores:
            raise self._refusal(f"the data store {name!r} is defined twice")
        if initial is not None and not isinstance(initial, Mapping):
            raise self._refusal(f"the initial values of the data store {name!r} must be a dict, not {initial!r}")
        try:
            self._data_stores[name] = as_json(initial or {}, f"data store {name!r}: initial")
        except HandlerError as error:
            raise self._refusal(str(error)) from None

    def schedule(self, name: str | None = None, **options: Any) -> Callable[[H], H]:
        """Create jobs at certain times. *options* are those of ``Schedule``; its *name* is by default that of the
        blueprint. Returns a decorator that changes nothing, to stand above the handler of the first state."""
        try:
            made = Schedule.of(self.name if name is None else name, {**options, "blueprint": self.name})
        except InvalidRequestError as error:
            raise self._refusal(str(error)) from None
        if made.name in self.schedules:
            raise self._refusal(f"the schedule {made.name!r} is defined twice: give each a name")
        self.schedules[made.name] = made
        return lambda function: function

    def limit(self, *, key: str, concurrency: int | None = None, rate: str | None = None) -> Callable[[H], H]:
        """Limit the tasks that a state dispatches: of those with the same key, also in other jobs and blueprints, at
        most *concurrency* run at a time, over all workers, and at most *rate* start (``100/m``, ``5/s``, ``900/h``).

        *key* may contain data of the job: ``{initial_data[account]}``, ``{state_history[order][region]}``. Returns a
        decorator that changes nothing, to stand at the handler of the state.
        """
        template = self._template("limit", key, "state_history")
        try:
            values = LimitValues.of(concurrency, rate)
        except InvalidRequestError as error:
            raise self._refusal(f"limit: {error}") from None

        def mark(function: H) -> H:
            self.limits.append((function, template, values))
            return function

        return mark

    def _template(self, option: str, text: object, *sources: str) -> KeyTemplate:
        fields = {} if self.input is None else object_type(self.input).schema.get("properties", {})
        try:
            return KeyTemplate.of(text, *sources, "initial_data", fields=fields)
        except InvalidRequestError as error:
            raise self._refusal(f"{option}: {error}") from None

    @overload
    def handler(self, name: H) -> H: ...

    @overload
    def handler(
        self,
        name: str | None = None,
        condition: Condition | None = None,
        *,
        is_start: bool = False,
        **options: Unpack[StateOptions],
    ) -> Callable[[H], H]: ...

    def handler(
        self,
        name: H | str | None = None,
        condition: Condition | None = None,
        *,
        is_start: bool = False,
        **options: Unpack[StateOptions],
    ) -> H | Callable[[H], H]:
        """Register a function as the handler of the state *name* (default: the function's name).

        Handlers of one state are tried in the order of their definition, the one without a *condition* last.
        *options* are those of :class:`StateOptions`.
        """

        return self._mark(name, condition, is_start=is_start, **options)

    @overload
    def aggregator(self, name: H) -> H: ...

    @overload
    def aggregator(self, name: str | None = None, **options: Unpack[StateOptions]) -> Callable[[H], H]: ...

    def aggregator(self, name: H | str | None = None, **options: Unpack[StateOptions]) -> H | Callable[[H], H]:
        """Register a function as the handler of a state that joins parallel tasks.

        It runs once, after all of them have ended, and gets their results as ``aggregation_results``: ``{"status",
        "data", "error"}`` by task id, in the order of dispatch. Options as in :meth:`handler`.
        """

        return self._mark(name, is_aggregator=True, **options)

    def compile(self) -> Plan:
        """Compile to a plan: states, queues and bindings.

        Raise BlueprintError with state and line for every mistake that can be found before a job runs.
        """
        if self._plan is None:
            self._plan = compile_blueprint(self)
        return self._plan

    @property
    def plan(self) -> Plan:
        """See :meth:`compile`."""
        return self.compile()

    def _mark(
        self,
        name: H | str | None,
        condition: Condition | None = None,
        *,
        is_end: object = False,
        queue: str | None = None,
        may_go_to: Iterable[str] | None = None,
        retired: bool = False,
        **flags: bool,
    ) -> H | Callable[[H], H]:
        """Return a decorator for the state *name*, or apply it if *name* is the function itself."""

        def mark(function: H) -> H:
            state = name if isinstance(name, str) else getattr(function, "__name__", type(function).__name__)
            found = {"condition": condition, "queue": queue, "may_go_to": may_go_to, "is_end": is_end}
            if (problem := handler_problem(function, state, **found)) is not None:
                raise self._refusal(problem, state=state, line=line_of(function))
            end = None
            if is_end:
                end = EndKind.FAILED if is_end == "failed" or state == "failed" else EndKind.FINISHED
            more = tuple(may_go_to or ())
            handler = Handler(
                function, state, condition, end=end, queue=queue, may_go_to=more, is_retired=retired, **flags
            )
            handlers = (*self.handlers.get(state, ()), handler)
            self.handlers[state] = tuple(sorted(handlers, key=lambda each: each.guard is None))
            self._plan = None
            return function

        if name is None or isinstance(name, str):
            return mark
        if not callable(name):
            raise self._refusal(f"the name of a state must be text, not {name!r}")
        return mark(name)

    def _refusal(self, message: str, *, state: str | None = None, line: int | None = None) -> BlueprintError:
        return BlueprintError(message, blueprint=str(self.name), state=state, line=line)
