"""The recorder that a handler decides with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from avtomatika.errors import HandlerError

from . import arguments
from .actions import Action, DispatchTask, End, GoTo
from .job import Json
from .jsonable import as_json
from .plan import BUILTIN_OUTCOMES, StatePlan

#: Priorities of tasks: higher is sooner.
PRIORITIES = range(10)


class Recorder:
    """The ``actions`` that a handler is given: it notes the one decision that the handler takes.

    What is wrong with a decision is raised where it is taken, as a HandlerError; and by :meth:`decision` once more, in
    case the handler swallowed it.
    """

    def __init__(self) -> None:
        self._taken: list[Action] = []
        self._refused: HandlerError | None = None

    def go_to(self, state: str) -> None:
        """Go on in *state*, at once."""
        self._record(lambda: GoTo(arguments.name(state, "go_to: the state")))

    def dispatch_task(
        self,
        task_type: str,
        params: Mapping[str, Json] | None = None,
        transitions: Mapping[str, str] | None = None,
        *,
        priority: int | None = None,
        max_retries: int | None = None,
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
        output_schema: Mapping[str, Json] | None = None,
    ) -> None:
        """Have a worker with the skill *task_type* work on *params*; *transitions* maps its outcome to the next state.

        *priority* is 0 to 9, higher first. *dispatch_timeout* is how many seconds may pass until a worker takes the
        task, *result_timeout* how many until it answers. *output_schema* is the JSON Schema that the data of the result
        must fit; a job whose worker answers anything else is quarantined.
        """
        self._record(
            lambda: DispatchTask(
                task_type=arguments.name(task_type, "dispatch_task: the task type"),
                params=arguments.params(params),
                transitions=arguments.transitions(transitions),
                priority=arguments.whole(priority, "priority", PRIORITIES),
                max_retries=arguments.whole(max_retries, "max_retries", range(1_000_001)),
                dispatch_timeout_seconds=arguments.seconds(dispatch_timeout, "dispatch_timeout"),
                result_timeout_seconds=arguments.seconds(result_timeout, "result_timeout"),
                output_schema=arguments.schema(output_schema),
            )
        )

    def decision(self, returned: object, state: StatePlan) -> Action:
        """The one decision of the handler of *state*, which returned *returned*.

        Raises HandlerError when there is none or more than one, or when it is not what the plan knows of the state.
        """
        try:
            return self._decision(returned, state)
        except HandlerError as error:
            raise HandlerError(f"state {state.name!r}: {error}") from None

    def _decision(self, returned: object, state: StatePlan) -> Action:
        if self._refused is not None:
            raise self._refused
        if state.end is not None:
            if self._taken:
                raise HandlerError(f"it is an end, but its handler took the action {_words(self._taken[0])}")
            return End(as_json(returned, "the returned value"))
        if not self._taken:
            raise HandlerError("its handler ended without an action: call go_to(...) or dispatch_task(...)")
        _check_declared(self._taken[0], state)
        return self._taken[0]

    def _record(self, make: Callable[[], Action]) -> None:
        try:
            action = make()
            if self._taken:
                raise HandlerError(
                    f"a handler takes one action, but after {_words(self._taken[0])} came {_words(action)}"
                )
        except HandlerError as error:
            self._refused = self._refused or error
            raise
        self._taken.append(action)


def _check_declared(action: Action, state: StatePlan) -> None:
    """Whatever a handler computes at run time must still be what was declared to the broker."""
    declared = {(known.outcome, known.target) for known in state.transitions}
    outcomes = {outcome for outcome, _ in declared}.union(BUILTIN_OUTCOMES, {None})
    for outcome, target in _edges(action):
        if outcome not in outcomes:
            raise HandlerError(
                f"the outcome {outcome!r} is not known to the plan: write it as text in dispatch_task(transitions=...)"
            )
        if (outcome, target) not in declared and target not in state.may_go_to:
            raise HandlerError(
                f"{target!r} was not declared as a state that it may go to: add may_go_to=[{target!r}] to its handler"
            )


def _edges(action: Action) -> Iterable[tuple[str | None, str]]:
    match action:
        case GoTo(target):
            return [(None, target)]
        case DispatchTask(transitions=transitions):
            return transitions.items()
        case End():
            return ()


def _words(action: Action) -> str:
    match action:
        case GoTo(state):
            return f"go_to({state!r})"
        case DispatchTask(task_type):
            return f"dispatch_task({task_type!r})"
        case End():
            return "end"
