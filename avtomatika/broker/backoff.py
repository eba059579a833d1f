"""Back-off of loops that must not end: they wait longer after each failure, and log each error once."""

import logging
import random
from collections.abc import Callable

from avtomatika.errors import AvtomatikaError

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
#: Doublings from the first pause to the longest.
_DOUBLINGS = 6


def pause_seconds(failures: int) -> float:
    """Return the pause after *failures* in a row (from 1), with full jitter, so that clients do not retry together."""
    longest = min(_FIRST_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS), _LONGEST_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - not a secret


class Backoff:
    """Consecutive failures of a loop; *consequence* says in the log what they mean for its work.

    Each error is logged once: an AvtomatikaError in one line, any other with its traceback.
    """

    def __init__(self, logger: logging.Logger, consequence: str) -> None:
        self._logger = logger
        self._consequence = consequence
        #: Number of failures since the last success.
        self.count = 0
        self._logged = ""

    def __bool__(self) -> bool:
        return bool(self.count)

    def run(
        self,
        step: Callable[[], object],
        *,
        until: Callable[[], object],
        wait: Callable[[float], object],
        errors: type[Exception] = Exception,
    ) -> None:
        """Repeat *step* until *until* is true. After one of *errors*, *wait* for some seconds, and continue."""
        while not until():
            try:
                step()
            except errors as error:
                wait(self.failed(error))
            else:
                self.succeeded()

    def failed(self, error: Exception) -> float:
        """Count a failure; return the seconds to wait before the next try."""
        self.count += 1
        if str(error) != self._logged or self.count == 1:
            self._logged = str(error)
            is_expected = isinstance(error, AvtomatikaError)
            level = logging.WARNING if is_expected else logging.ERROR
            text = error if is_expected else repr(error)
            self._logger.log(level, "%s; %s", text, self._consequence, exc_info=None if is_expected else error)
        return pause_seconds(self.count)

    def succeeded(self) -> None:
        """Reset the count after a success."""
        if self.count:
            self._logger.info("working again after %d failures", self.count)
            self.count = 0
