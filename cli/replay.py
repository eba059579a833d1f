"""``avtomatika replay``: rerun an exported job in memory and compare its steps."""

import json
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import click

from avtomatika.client.recording import Recording
from avtomatika.errors import InvalidRequestError
from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.testing import RunResult
from avtomatika.testing.replay import recorded_steps, replay, replayed_steps
from avtomatika.tokens import Clients

from .arguments import blueprints_option
from .orchestrator import client_of
from .output import json_option, print_json


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@blueprints_option
@json_option
def command(file: Path, blueprints: str, as_json: bool) -> None:
    """Rerun the job in FILE, written by `avtomatika jobs export`, in memory and compare its steps.

    Handlers run; task results and decisions are taken from FILE, and data stores start with their initial values. Lines
    with "-" are only in FILE, lines with "+" only in the rerun. Exits 1 if there are any.
    """
    recording = _read(file)
    clients = Clients(path=Settings.from_environment().clients_config_path)
    ended = replay(recording, load_blueprints(blueprints), client_of=client_of(clients))
    then, now = recorded_steps(recording), replayed_steps(ended)
    if as_json:
        print_json({"same": then == now, "status": ended.status, "result": ended.result, "error": ended.error})
    else:
        for line in _compared(then, now):
            click.echo(line)
        _print_outcome(ended, is_same=then == now)
    if then != now:
        click.get_current_context().exit(1)


def _read(file: Path) -> Recording:
    try:
        return Recording.of(json.loads(file.read_text()))
    except ValueError as error:
        raise InvalidRequestError(f"{file}: invalid JSON: {error}") from None
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error}") from None


def _compared(then: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    for tag, begin, end, begin_now, end_now in SequenceMatcher(None, then, now, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from (f"  {line}" for line in then[begin:end])
        else:
            yield from (f"- {line}" for line in then[begin:end])
            yield from (f"+ {line}" for line in now[begin_now:end_now])


def _print_outcome(ended: RunResult, *, is_same: bool) -> None:
    click.echo(f"{'same steps' if is_same else 'different steps'}: {ended.status}", err=True)
    if ended.error is not None:
        click.echo(str(ended.error.get("traceback") or ended.error.get("message")).rstrip(), err=True)
