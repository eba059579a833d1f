"""``avtomatika worker``: the skills of a module's worker, at work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from avtomatika.errors import SettingsError
from avtomatika.settings import Settings
from avtomatika.worker.run import begin_anew, load_worker, run_worker

from . import logs
from .environment import join_local
from .parent import end_with_parent
from .reloading import run_reloading

#: Where a worker is looked for when nobody says where it is.
_USUAL_FILE = Path("worker.py")
#: What stands for ``--reload``; the worker that it runs does not get it.
_RELOAD_VARIABLE = "AVTOMATIKA_WORKER_RELOAD"
#: Who says where tasks come from needs no server here.
_ELSEWHERE = ("ORCHESTRATORS_CONFIG", "ORCHESTRATOR_URL")


@click.command("worker")
@click.argument("worker", required=False, envvar="AVTOMATIKA_WORKER", metavar="[MODULE:WORKER]")
@click.option("--reload", is_flag=True, help="Begin anew whenever the code here changes; for development.")
def command(worker: str | None, reload: bool) -> None:
    """Do the tasks that MODULE:WORKER has skills for.

    MODULE is a module or a file, WORKER the Worker in it; when nothing is named it is ./worker.py:worker.
    """
    is_elsewhere = any(os.environ.get(name, "").strip() for name in _ELSEWHERE)
    settings = Settings.from_environment() if is_elsewhere else join_local()
    logs.configure(settings.log_level, settings.log_format)
    spec = worker or default_worker()
    if spec is None:
        raise SettingsError(f"name a worker, as in mymodule:worker: there is no {_USUAL_FILE} in {Path.cwd()}")
    if reload:
        end_with_parent()
        environ = {name: value for name, value in os.environ.items() if name != _RELOAD_VARIABLE}
        sys.exit(run_reloading([sys.executable, "-m", "avtomatika.cli", "worker", spec], Path.cwd(), environ))
    if run_worker(load_worker(spec), os.environ, when_forked=end_with_parent):
        begin_anew()


def default_worker() -> str | None:
    """The worker of the working directory, if there is one."""
    return f"{_USUAL_FILE}:worker" if _USUAL_FILE.is_file() else None
