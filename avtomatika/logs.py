"""Log to standard error: text on a terminal, otherwise one JSON object a line, each with the ids of its task."""

import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from avtomatika.core.texts import MAX_TRACEBACK, shortened

#: Attributes that every record has; they are blank outside of skills and handlers.
ID_NAMES = ("job_id", "task_id", "attempt", "worker_id", "trace_id")
_BLANK: dict[str, Any] = dict.fromkeys(ID_NAMES, "")
_ids: ContextVar[dict[str, Any]] = ContextVar("log_ids", default=_BLANK)
#: Attributes of records that are not fields of their own.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


@contextmanager
def log_ids(ids: dict[str, Any]) -> Iterator[None]:
    """Add *ids* to the records of this thread or coroutine, and of coroutines that it starts."""
    outer = _ids.set(_BLANK | ids)
    try:
        yield
    finally:
        _ids.reset(outer)


class Ids(logging.Filter):
    """Gives records, also for handlers of users, the attributes of :data:`ID_NAMES` unless ``extra`` has them."""

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update(_ids.get() | vars(record))
        return True


def configure(level: str, form: str | None) -> None:
    """Log records of *level* and above to standard error as *form*: ``json``, ``text`` or None to choose."""
    logging.config.dictConfig(logging_config(level, form))


def logging_config(level: str, form: str | None) -> dict[str, Any]:
    """Return the same configuration as a dict for ``logging.config``."""
    is_text = form == "text" if form else sys.stderr.isatty()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"ids": {"()": Ids}},
        "formatters": {"lines": {"()": TextFormatter if is_text else JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["ids"]}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": {"handlers": [], "propagate": True, "level": level}},
    }


class TextFormatter(logging.Formatter):
    """Formats records as text; ids that the message does not contain follow it in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line, fields = super().formatMessage(record).replace(" avtomatika.", " ", 1), vars(record)
        task_id, attempt = fields.get("task_id"), fields.get("attempt")
        names = (f"{task_id}/{attempt}" if task_id else fields.get("job_id"), *map(fields.get, ID_NAMES[3:]))
        ids = [name for name in names if name and name not in line]
        return f"{line} [{' '.join(ids)}]" if ids else line

    def format(self, record: logging.LogRecord) -> str:
        return shortened(super().format(record), MAX_TRACEBACK)


class JsonFormatter(logging.Formatter):
    """Formats records as JSON: ``ts`` (RFC 3339 UTC), ``level``, ``logger``, ``message``, ``error`` (traceback), the
    ids that are not blank, and the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shortened(record.getMessage(), MAX_TRACEBACK),
        }
        if record.exc_info:
            line["error"] = shortened(self.formatException(record.exc_info), MAX_TRACEBACK)
        known = _STANDARD | line.keys()
        line |= {name: value for name, value in vars(record).items() if name not in known and value != ""}
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # fields of the caller that JSON or UTF-8 cannot represent
            return orjson.dumps({name: shortened(str(value)) for name, value in line.items()}).decode()
