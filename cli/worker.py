"""``avtomatika worker``: run the worker of a module."""

import os
import sys
from pathlib import Path

import click

from avtomatika import logs
from avtomatika.errors import SettingsError
from avtomatika.settings import Settings

from .environment import join_local
from .parent import end_with_parent
from .reloading import run_reloading

#: Module of the default worker.
_DEFAULT_FILE = Path("worker.py")
#: Variable of ``--reload``, removed from the environment of the reloaded worker.
_RELOAD_VARIABLE = "AVTOMATIKA_WORKER_RELOAD"
#: With one of these the worker needs no local server.
_ORCHESTRATOR_VARIABLES = ("ORCHESTRATORS_CONFIG", "ORCHESTRATOR_URL")


@click.command("worker")
@click.argument("worker", required=False, envvar="AVTOMATIKA_WORKER", metavar="[MODULE:WORKER]")
@click.option("--reload", is_flag=True, help="Restart when code below the working directory changes; for development.")
def command(worker: str | None, reload: bool) -> None:
    """Run a worker: execute tasks with the skills of MODULE:WORKER.

    MODULE is a module or a file, WORKER the name of its Worker. The default is ./worker.py:worker.
    """
    from avtomatika.worker.run import load_worker, restart, run_worker  # slow: other commands use this module, too

    is_remote = any(os.environ.get(name, "").strip() for name in _ORCHESTRATOR_VARIABLES)
    settings = Settings.from_environment() if is_remote else join_local()
    logs.configure(settings.log_level, settings.log_format)
    spec = worker or default_worker()
    if spec is None:
        raise SettingsError(f"no worker given (as in mymodule:worker), and no {_DEFAULT_FILE} in {Path.cwd()}")
    if reload:
        end_with_parent()
        environ = {name: value for name, value in os.environ.items() if name != _RELOAD_VARIABLE}
        sys.exit(run_reloading([sys.executable, "-m", "avtomatika.cli", "worker", spec], Path.cwd(), environ))
    if run_worker(load_worker(spec), on_forked=end_with_parent):
        restart()


def default_worker() -> str | None:
    """Return the worker of the working directory, if any."""
    return f"{_DEFAULT_FILE}:worker" if _DEFAULT_FILE.is_file() else None
