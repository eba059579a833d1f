"""``Actions``: the object with which a handler decides what its job does next."""

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from datetime import datetime
from functools import partial

from avtomatika.core.job import Json
from avtomatika.core.jsonable import JsonObject, as_json
from avtomatika.core.plan import SIGNAL_OUTCOMES, StatePlan, Via
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.times import Duration
from avtomatika.errors import HandlerError

from . import arguments, branches
from .action_types import Action, AwaitApproval, DispatchTask, End, FanOut, GoTo, Wait, WaitFor
from .branches import OnFailure
from .decision_check import call_text, check_declared


class _Recorded(Awaitable[None]):
    """The return value of actions, for handlers that await them."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_RECORDED = _Recorded()


class Actions:
    """The ``actions`` argument of a handler. It records the one decision that the handler takes.

    An invalid decision raises HandlerError in the handler, and again in :meth:`decision` if the handler swallowed it.
    Async handlers may await an action or not; both mean the same.
    """

    def __init__(self) -> None:
        self._recorded: list[Action] = []
        self._error: HandlerError | None = None

    def go_to(self, state: str) -> Awaitable[None]:
        """Continue in *state* at once."""
        return self._record(lambda: GoTo(arguments.name(state, "go_to: the state")))

    def dispatch_task(
        self,
        task_type: str,
        params: JsonObject | None = None,
        transitions: Mapping[str, str] | None = None,
        *,
        priority: int | None = None,
        max_retries: int | None = None,
        dispatch_timeout: Duration | None = None,
        result_timeout: Duration | None = None,
        output_schema: Mapping[str, Json] | None = None,
        retry: RetryPolicy | None = None,
        dispatch_strategy: str | None = None,
        resource_requirements: Mapping[str, Json] | None = None,
        max_cost: float | None = None,
    ) -> Awaitable[None]:
        """Have a worker with the skill *task_type* process *params*; *transitions* maps outcomes to states.

        *priority* is 0 to 9, higher first. *dispatch_timeout* limits the time until a worker takes the task,
        *result_timeout* the time from then until its result; both are seconds or a timedelta. *output_schema* is a JSON
        Schema for the data of the result; a job whose result breaks it is quarantined. *retry* says which failures are
        retried and after which delays; *max_retries* overrides its number. Several calls in one handler are a fan-out
        if all map ``success`` to the same aggregator.

        Any free worker takes the task unless one of the last three arguments is given. Then a worker is chosen that
        meets *resource_requirements* and costs at most *max_cost*, by *dispatch_strategy* (``round_robin``,
        ``least_connections``, ``cheapest``, ``best_value``).
        """
        return self._record(partial(branches.task, "dispatch_task", locals()))

    def dispatch_parallel(
        self,
        tasks: Iterable[Mapping[str, object]],
        aggregate_into: str,
        *,
        max_concurrency: int | None = None,
        on_failure: OnFailure = "fail",
        max_failures: int | None = None,
        first_success: bool = False,
    ) -> Awaitable[None]:
        """Run all *tasks* in parallel, at most *max_concurrency* at a time; the aggregator *aggregate_into* runs once,
        after the last has ended.

        A task is a dict of arguments of :meth:`dispatch_task`: ``task_type`` (or ``type``), ``params`` and the options;
        or of a child job, as in :meth:`run_blueprints`. Its ``transitions`` are for outcomes other than ``success``.

        Up to *max_failures* tasks (0) may fail: the aggregator sees which. One more fails the job, or leads to its own
        transition for ``failure``: at once, or with *on_failure* ``finish_all`` when all tasks have ended. With
        *first_success*, the first task that succeeds cancels the others, and all but one may fail.
        """
        policy = (on_failure, max_failures, first_success, max_concurrency)
        return self._record(lambda: branches.fan_out("dispatch_parallel", tasks, aggregate_into, policy, _KEYS))

    def wait(
        self, seconds: Duration | None = None, *, until: datetime | str | None = None, then: str
    ) -> Awaitable[None]:
        """Continue in the state *then* after *seconds* (or a timedelta), or at the time *until*."""
        return self._record(lambda: _wait(seconds, until, then))

    def await_human_approval(
        self,
        integration: str,
        message: str,
        transitions: Mapping[str, str],
        timeout: Duration | None = None,
        *,
        form: object = None,
        assignees: Iterable[str] = (),
        role: str | None = None,
    ) -> Awaitable[None]:
        """Ask a person *message*; *transitions* maps the possible decisions to states. *integration* names the channel
        through which people are asked; it is shown with the question and sends nothing.

        Without a decision within *timeout* (seconds or a timedelta), the transition ``timeout`` is taken; without that
        transition the job fails. *form* asks for data too: a dataclass, TypedDict, pydantic model, marshmallow schema
        or JSON Schema of an object. The next handler gets it as ``decision_data``, None if ``rejected`` without data.
        With *assignees* (names of clients) or a *role* (of ``roles`` in clients.toml) only these clients may decide.
        """
        return self._record(
            lambda: AwaitApproval(
                integration=arguments.name(integration, "await_human_approval: the integration"),
                message=arguments.text(message, "await_human_approval: the message"),
                transitions=arguments.transitions(transitions, "await_human_approval"),
                timeout_seconds=arguments.seconds(timeout, "await_human_approval: timeout"),
                form=arguments.form(form, "await_human_approval: form"),
                assignees=arguments.names(assignees, "await_human_approval: assignees"),
                role=None if role is None else arguments.name(role, "await_human_approval: role"),
            )
        )

    def wait_for(
        self,
        signal: str,
        transitions: Mapping[str, str],
        timeout: Duration | None = None,
        *,
        schema: object = None,
    ) -> Awaitable[None]:
        """Wait until a program or a person sends *signal*, or take one that was sent before; *transitions* maps
        ``received``, and ``timeout`` if wanted, to states.

        Without a signal within *timeout* (seconds or a timedelta) and without the transition ``timeout`` the job fails.
        *schema* is the type of its data, as *form* of :meth:`await_human_approval`. The next handler gets the data as
        ``signal_data``, None if the signal has none.
        """
        return self._record(lambda: _wait_for(signal, transitions, timeout, schema))

    def run_blueprint(
        self,
        name: str,
        initial_data: JsonObject | None = None,
        transitions: Mapping[str, str] | None = None,
        *,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
        time_limit: Duration | None = None,
    ) -> Awaitable[None]:
        """Run a child job of the blueprint *name*; *transitions* maps its outcome to the next state.

        The outcome is ``success``, ``failure`` or ``cancelled``. The child's result is merged like that of a task. It
        has the job's priority unless *priority* is given, and *labels* besides those of the job. It fails if it does
        not end within *time_limit* (seconds or a timedelta).
        """
        return self._record(partial(branches.child_job, "run_blueprint", {**locals(), "blueprint": name}))

    def run_blueprints(
        self,
        blueprints: Iterable[Mapping[str, object]],
        aggregate_into: str,
        *,
        on_failure: OnFailure = "fail",
        max_failures: int | None = None,
        first_success: bool = False,
    ) -> Awaitable[None]:
        """Run several child jobs in parallel; the aggregator *aggregate_into* runs once, after the last has ended.

        A child is a dict: ``blueprint``, ``initial_data`` and the options of :meth:`run_blueprint`. The other arguments
        are those of :meth:`dispatch_parallel`, which takes tasks and children in one list.
        """
        policy = (on_failure, max_failures, first_success, None)
        return self._record(lambda: branches.fan_out("run_blueprints", blueprints, aggregate_into, policy, _KEYS))

    def decision(self, returned: object, state: StatePlan) -> Action:
        """Return the decision of the handler of *state*, whose return value is *returned*.

        Raise HandlerError if there is none or more than one, or if the plan of the state does not contain it.
        """
        try:
            return self._decision(returned, state)
        except HandlerError as error:
            raise HandlerError(f"state {state.name!r}: {error}") from None

    def _decision(self, returned: object, state: StatePlan) -> Action:
        if self._error is not None:
            raise self._error
        if state.end is not None:
            if self._recorded:
                raise HandlerError(f"it is an end state, but its handler called {call_text(self._recorded[0])}")
            return End(as_json(returned, "the returned value"))
        if not self._recorded:
            raise HandlerError("its handler returned without an action: call go_to(...) or dispatch_task(...)")
        action = self._combined(state)
        check_declared(action, state)
        return action

    def _combined(self, state: StatePlan) -> Action:
        """Tasks that lead to an aggregator are a fan-out, even a single one."""
        first = self._recorded[0]
        if not isinstance(first, DispatchTask):
            return first
        target = first.transitions.get("success")
        if target in state.aggregators:
            return FanOut(tuple(task for task in self._recorded if isinstance(task, DispatchTask)), target)
        if len(self._recorded) > 1:
            raise HandlerError(
                f"several dispatch_task(...) need one aggregator for their results, but {target!r} is not one: "
                f"mark its handler with @bp.aggregator"
            )
        return first

    def _record(self, make: Callable[[], Action]) -> Awaitable[None]:
        try:
            action = make()
            if self._recorded and not _are_siblings(self._recorded[0], action):
                both = f"{call_text(self._recorded[0])} was followed by {call_text(action)}"
                raise HandlerError(f"a handler takes one action, but {both}")
        except HandlerError as error:
            self._error = self._error or error
            raise
        self._recorded.append(action)
        return _RECORDED


#: The methods of Actions that take a decision, with the kind of their transitions.
ACTIONS = {
    "go_to": Via.GO_TO,
    "dispatch_task": Via.TASK,
    "dispatch_parallel": Via.TASK,
    "wait": Via.WAIT,
    "wait_for": Via.SIGNAL,
    "await_human_approval": Via.APPROVAL,
    "run_blueprint": Via.CHILD,
    "run_blueprints": Via.TASK,
}
#: Keys of a task of ``dispatch_parallel``, besides ``type``.
BRANCH_KEYS = tuple(inspect.signature(Actions.dispatch_task).parameters)[1:]
#: Keys of a child job of ``run_blueprints`` and ``dispatch_parallel``.
CHILD_KEYS = ("blueprint", *tuple(inspect.signature(Actions.run_blueprint).parameters)[2:])
_KEYS = (BRANCH_KEYS, CHILD_KEYS)


def _wait(seconds: object, until: object, then: object) -> Wait:
    if (seconds is None) == (until is None):
        raise HandlerError("wait: give either seconds or until")
    return Wait(
        then=arguments.name(then, "wait: then"),
        seconds=arguments.seconds(seconds, "wait: seconds"),
        until_ms=arguments.time_ms(until, "wait: until"),
    )


def _wait_for(signal: object, transitions: object, timeout: object, schema: object) -> WaitFor:
    found = arguments.transitions(transitions, "wait_for")
    if not {"received"} <= found.keys() <= {*SIGNAL_OUTCOMES}:
        raise HandlerError(f"wait_for: transitions must have 'received', and may have 'timeout', not {transitions!r}")
    return WaitFor(
        signal=arguments.name(signal, "wait_for: the signal"),
        transitions=found,
        timeout_seconds=arguments.seconds(timeout, "wait_for: timeout"),
        form=arguments.form(schema, "wait_for: schema"),
    )


def _are_siblings(first: Action, second: Action) -> bool:
    match first, second:
        case DispatchTask(transitions=of_first), DispatchTask(transitions=of_second):
            return of_first.get("success") == of_second.get("success")
    return False
