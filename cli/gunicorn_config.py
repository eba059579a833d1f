"""Gunicorn's configuration: ``gunicorn -c python:avtomatika.cli.gunicorn_config 'avtomatika.web.wsgi:create()'``.

Gunicorn reads the names below and uses its defaults for others (``WEB_CONCURRENCY`` sets the number of processes).
"""

import os
import resource
from typing import Any

from avtomatika.local_files import TemporaryFolder
from avtomatika.logs import logging_config
from avtomatika.settings import Settings

from .address import LISTEN_VARIABLE
from .main import read_dotenv
from .parent import end_with_parent

read_dotenv()
_settings = Settings.from_environment()

#: `avtomatika up` opens the socket and passes its descriptor.
_descriptor = os.environ.get(LISTEN_VARIABLE)
bind = f"fd://{_descriptor}" if _descriptor else f"{os.environ.get('API_HOST', '')}:{_settings.port}"
#: One greenlet per request: many requests wait for a job to change.
worker_class = "avtomatika.web.gunicorn_worker.Worker"
#: Held requests, plus other requests and idle connections.
worker_connections = _settings.web_max_waiting + 2000
#: Time limit for the head of a request, and for an idle connection.
keepalive = 15
graceful_timeout = 5
#: Unused here; gunicorn would share one socket in the home folder between all its instances.
control_socket_disable = True
logconfig_dict = logging_config(_settings.log_level, _settings.log_format)


_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    end_with_parent()
    server.metrics_folder = TemporaryFolder("avtomatika-metrics-")  # removed when this process exits
    os.environ[_METRICS] = str(server.metrics_folder.path)
    _raise_open_file_limit(worker_connections + 100)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the process the first free place: its metrics continue the file of the process that had it before."""
    taken = {each.place for each in server.WORKERS.values()}
    worker.place = min({*range(len(taken) + 1)} - taken)
    os.environ["AVTOMATIKA_WEB_PLACE"] = str(worker.place)


def _raise_open_file_limit(wanted: int) -> None:
    """Raise the soft limit of open files: every connection is one, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
