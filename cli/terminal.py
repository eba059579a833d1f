"""Text from servers and skills on a terminal, and progress bars."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

#: Characters that control a terminal or change the order or visibility of others.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Escape characters that would control the terminal, as JSON does; line breaks and tabs stay."""
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


@contextmanager
def progress(label: str = "") -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how much of a total is done, as a bar on standard error if that is a terminal."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show
