"""The schedules of a blueprint."""

from collections.abc import Callable
from typing import Any, TypeVar

from avtomatika.core.schedule import Schedule
from avtomatika.errors import BlueprintError, InvalidRequestError

F = TypeVar("F", bound=Callable[..., Any])


class Scheduled:
    """The part of a blueprint that says when its jobs are created; ``schedules`` are by name."""

    name: str
    schedules: dict[str, Schedule]

    def schedule(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """Create jobs at certain times. *options* are those of ``Schedule``; its *name* is that of the blueprint by
        default. Returns a decorator that changes nothing, to stand above the handler of the first state::

            @bp.schedule(cron="0 7 * * 1-5", timezone="Europe/Berlin")
            @bp.handler(is_start=True)

        Raises BlueprintError.
        """
        try:
            made = Schedule.of(self.name if name is None else name, {**options, "blueprint": self.name})
        except InvalidRequestError as error:
            raise BlueprintError(str(error), blueprint=self.name) from None
        if made.name in self.schedules:
            message = f"the schedule {made.name!r} is defined twice: give each a name"
            raise BlueprintError(message, blueprint=self.name)
        self.schedules[made.name] = made
        return lambda function: function
