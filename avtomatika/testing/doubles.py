"""What may stand in the place of a skill or of a person."""

from __future__ import annotations

from typing import Any, Final

from avtomatika.worker.skill import Skill


class _Absent:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: In the place of a skill: no worker ever takes the task. Its ``dispatch_timeout`` passes, if it has one. In the place
#: of a decision: nobody ever decides.
NEVER_TAKEN: Final = _Absent("NOBODY")
#: In the place of a skill: a worker takes the task and never answers. Its ``result_timeout`` passes, if it has one.
NEVER_ANSWERS: Final = _Absent("SILENCE")


def skill(name: str, given: Any) -> Skill:
    """The skill *name* as *given*: itself, a function, an exception to raise, or the result."""
    if isinstance(given, Skill):
        return given
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        return Skill.of(lambda: _raise(given), name)
    return Skill.of(given if callable(given) else lambda: given, name)


def _raise(error: BaseException | type[BaseException]) -> None:
    raise error
