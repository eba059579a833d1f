"""Gunicorn's configuration: ``gunicorn -c python:avtomatika.cli.gunicorn_config 'avtomatika.web.wsgi:create()'``.

Gunicorn reads the names below; what is not here is its own default (``WEB_CONCURRENCY`` sets the processes).
"""

from __future__ import annotations

import os
import resource

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
#: A greenlet a request: many of them wait for a job to change.
worker_class = "avtomatika.web.gunicorn_worker.Worker"
#: Held requests, and room for others and for connections that send nothing yet.
worker_connections = _settings.web_max_waiting + 2000
#: Time limit for the head of a request, and for an idle connection.
keepalive = 15
graceful_timeout = 5
#: Gunicorn would open one for all under the home folder; nobody here speaks to it.
control_socket_disable = True
logconfig_dict = logging_config(_settings.log_level, _settings.log_format)


def on_starting(server: object) -> None:
    end_with_parent()
    _raise_limit_of_files(worker_connections + 100)


def _raise_limit_of_files(wanted: int) -> None:
    """Every connection is an open file; many systems allow 1024 unless a process asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
