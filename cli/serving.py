"""Gunicorn's configuration: ``gunicorn -c python:avtomatika.cli.serving 'avtomatika.web.wsgi:create()'``.

Gunicorn reads the names below; what is not here is its own default (``WEB_CONCURRENCY`` sets the processes).
"""

from __future__ import annotations

import os

from avtomatika.settings import Settings

from .address import LISTEN_VARIABLE
from .logs import logging_config
from .main import read_dotenv
from .parent import end_with_parent

read_dotenv()
_settings = Settings.from_environment()

#: `avtomatika up` listens itself, and passes the socket on.
_descriptor = os.environ.get(LISTEN_VARIABLE)
bind = f"fd://{_descriptor}" if _descriptor else f"{os.environ.get('API_HOST', '')}:{_settings.port}"
#: A thread a request: many of them wait for a job to change.
worker_class = "gthread"
threads = _settings.web_threads
#: Requests that are held at most 25 s are not waited for: their clients ask again.
graceful_timeout = 5
#: Gunicorn would open one for all under the home folder; nobody here speaks to it.
control_socket_disable = True
logconfig_dict = logging_config(_settings.log_level, _settings.log_format)


def on_starting(server: object) -> None:
    end_with_parent()
