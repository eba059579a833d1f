"""Replacements for skills and decisions in tests."""

from typing import Any, Final

from avtomatika.worker.skill import Skill


class _Absent:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: As a skill: no worker takes the task, so its ``dispatch_timeout`` expires, if any. As a decision: no person decides.
NEVER_TAKEN: Final = _Absent("NEVER_TAKEN")
#: As a skill: a worker takes the task and never answers, so its ``result_timeout`` expires, if any.
NEVER_ANSWERS: Final = _Absent("NEVER_ANSWERS")


def skill(name: str, given: Any) -> Skill:
    """Return the skill *name* from *given*: a skill, a function, an exception to raise, or a result."""
    if isinstance(given, Skill):
        return given
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        return Skill.of(lambda: _raise(given), name)
    return Skill.of(given if callable(given) else lambda: given, name)


def _raise(error: BaseException | type[BaseException]) -> None:
    raise error
