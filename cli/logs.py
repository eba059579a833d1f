"""Log to standard error: text on a terminal, otherwise one JSON object a line."""

import json
import logging
import logging.config
import sys
from datetime import UTC, datetime
from typing import Any

from avtomatika.core.texts import MAX_TRACEBACK, shortened


def configure(level: str, form: str | None) -> None:
    """Log records of *level* and above to standard error as *form*: ``json``, ``text`` or None to choose."""
    logging.config.dictConfig(logging_config(level, form))


def logging_config(level: str, form: str | None) -> dict[str, Any]:
    """Return the same configuration as a dict for ``logging.config``."""
    is_text = form == "text" if form else sys.stderr.isatty()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": TextFormatter if is_text else JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": {"handlers": [], "propagate": True, "level": level}},
    }


class TextFormatter(logging.Formatter):
    """Formats records as text."""

    def __init__(self) -> None:
        super().__init__("%(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return shortened(super().format(record), MAX_TRACEBACK)


class JsonFormatter(logging.Formatter):
    """Formats records as JSON: ``ts`` (RFC 3339 UTC), ``level``, ``logger``, ``message``, ``error`` (traceback)."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shortened(record.getMessage(), MAX_TRACEBACK),
        }
        if record.exc_info:
            line["error"] = shortened(self.formatException(record.exc_info), MAX_TRACEBACK)
        return json.dumps(line, ensure_ascii=False)
