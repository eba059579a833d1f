"""``avtomatika demo``: run the photo example from start to end, without any setup."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import click

import avtomatika
from avtomatika.client import Client
from avtomatika.client.answers import Job
from avtomatika.core.job import JobStatus
from avtomatika.errors import AvtomatikaError, SettingsError
from avtomatika.local_installation import announced
from avtomatika.settings import Settings

from .api import creation_url
from .history import describe, events_until_the_end, print_history
from .jobs import why
from .parent import PARENT_VARIABLE
from .var_folder import private_folder, secret

_BLUEPRINT = "photo"
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
#: Lines of each answer of the API that are printed.
_SHOWN_LINES = 8
#: Commands that show the API; printed and run.
_API_COMMANDS = (
    'curl -H "X-Client-Token: $TOKEN" {url}/api/v1/jobs/{job_id}',
    'curl -H "X-Client-Token: $TOKEN" {url}/api/v1/jobs/{job_id}/history',
    'curl -H "X-Client-Token: $TOKEN" {url}/api/v1/blueprints/{blueprint}/graph',
)


@click.command("demo")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path))
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, keep: bool) -> None:
    """Run the photo example from start to end.

    Starts all processes, submits a job with the photo FILE (by default that of the example), prints its progress,
    status, history and graph, and stops everything.
    """
    example = _example_folder()
    token = secret("client_token")
    with _running_example(example, token) as url, Client(url, token) as api:
        job = _run_one_job(api, file or example / "lake.jpg")
        _show_api_answers(url, token, job["id"])
        _title("The history as a table")
        print_history(api.history(job["id"])["events"])
        _show_result(job)
        if keep:
            _wait_for_interrupt(api, job["id"])
        _title("Stopping worker, orchestrator, web and server")
    ctx.exit(0 if job["status"] == JobStatus.FINISHED else 1)


def _example_folder() -> Path:
    """Return the example folder of this checkout: examples are not installed with the package."""
    for root in (Path(avtomatika.__file__).resolve().parent.parent, Path.cwd()):
        if (root / "examples" / _BLUEPRINT / "worker.py").is_file():
            return root / "examples" / _BLUEPRINT
    raise SettingsError(f"examples/{_BLUEPRINT} not found: run this in a checkout of avtomatika")


@contextmanager
def _running_example(example: Path, token: str) -> Iterator[str]:
    """Run ``avtomatika up`` with the example and its output in a file; yields the URL of the API."""
    wanted_port = Settings.from_environment().port
    log = private_folder() / "demo.log"
    _title(f"Starting server, web, orchestrator and worker (their output: {log})")
    with open(log, "w") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", "avtomatika.cli", "up"),
            env=_environment(example, token),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        url = _wait_until_up(process, log)
        if not url.endswith(f":{wanted_port}"):
            click.echo(f"port {wanted_port} is taken, using another one")
        click.echo(f"the API answers at {url}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _environment(example: Path, token: str) -> dict[str, str]:
    """Return the environment without the settings of this machine that the demo must not depend on."""
    return {
        **os.environ,
        "REDIS_URL": "",
        "ORCHESTRATORS_CONFIG": "",
        "ORCHESTRATOR_URL": "",
        "CLIENT_TOKEN": token,
        "BLUEPRINTS": str(example / "blueprints"),
        "AVTOMATIKA_WORKER": f"{example / 'worker.py'}:worker",
        PARENT_VARIABLE: str(os.getpid()),
    }


def _wait_until_up(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = monotonic() + _START_SECONDS
    while process.poll() is None and monotonic() < deadline:
        here = announced()
        if here and here["pid"] == process.pid:
            return str(here["url"])
        sleep(0.05)
    click.echo(log.read_text(errors="replace"), err=True)
    raise AvtomatikaError("avtomatika up did not start; see its output above")


def _run_one_job(api: Client, photo: Path) -> Job:
    _title(f"A job: {photo}")
    job_id = api.submit(creation_url(api, _BLUEPRINT), {"path": str(photo)})["job_id"]
    click.echo(f"accepted as {job_id}; its page: {_page(api, job_id)}")
    click.echo("its history as it happens:")
    for event in events_until_the_end(api, job_id):
        click.echo(f"  {describe(event)}")
    return api.job(job_id)


def _page(api: Client, job_id: str) -> str:
    """Return a link that logs in and opens the page of the job."""
    return api.login_link(f"/jobs/{job_id}")["url"]


def _wait_for_interrupt(api: Client, job_id: str) -> None:
    _title("Everything keeps running until Ctrl-C")
    click.echo(f"the page of the job: {_page(api, job_id)} (logs in once, within 5 minutes)")
    with suppress(KeyboardInterrupt):
        while True:
            sleep(3600)


def _show_api_answers(url: str, token: str, job_id: str) -> None:
    _title("Status, history and graph from the API")
    click.secho(f'$ TOKEN="{token}"', bold=True)
    for line in _API_COMMANDS:
        _run_in_shell(line.format(url=url, job_id=job_id, blueprint=_BLUEPRINT), token)


def _run_in_shell(line: str, token: str) -> None:
    click.secho(f"$ {line}", bold=True)
    done = subprocess.run(line, shell=True, env={**os.environ, "TOKEN": token}, capture_output=True)  # noqa: S602 - a fixed command
    if done.returncode != 0:
        raise SettingsError(f"the command failed: {done.stderr.decode(errors='replace').strip()}")
    lines = _indented(done.stdout.decode()).splitlines()
    click.echo("\n".join(lines[:_SHOWN_LINES]))
    if len(lines) > _SHOWN_LINES:
        click.echo(f"... {len(lines) - _SHOWN_LINES} more lines")
    click.echo()


def _indented(text: str) -> str:
    """Return JSON indented, and any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def _show_result(job: Job) -> None:
    _title(f"The job {job['status']}")
    if job["status"] != JobStatus.FINISHED:
        click.echo(why(job))
        return
    click.echo(f"look at it: {os.path.relpath(job['result']['contact_sheet'])}")


def _title(text: str) -> None:
    click.secho(f"\n{text}", fg="cyan", bold=True)
