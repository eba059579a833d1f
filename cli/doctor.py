"""``avtomatika doctor``: what is wrong with this installation, or will be, and what to do about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from avtomatika.errors import AvtomatikaError, SettingsError, Unavailable
from avtomatika.files.config import S3Config
from avtomatika.settings import Settings
from avtomatika.store import Finding, State, Store, diagnose
from avtomatika.tokens import Clients, Workers

from .environment import join_local
from .folder import VAR
from .output import json_option, print_json

#: Files that may hold secrets, by where they usually are.
_SECRET_FILES = (".env", "clients.toml", "workers.toml")
_EXIT_FAULT = 1
_EXIT_AWAY = 3


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Say what is wrong with this installation, or will be.

    Run it on each host, in the folder and with the environment of its processes. Exit 0 where nothing is worse than a
    warning, 1 where there is a fault, 3 where the server cannot be reached.
    """
    settings = join_local()
    is_away = False
    findings = [*_tokens(settings), *_files(settings), *_bucket()]
    try:
        findings = [*_server(settings), *findings]
    except Unavailable as error:
        is_away = True
        findings.insert(0, Finding("server", State.FAULT, str(error)))
    if as_json:
        print_json([{"subject": each.subject, "state": each.state, "finding": each.text} for each in findings])
    else:
        for each in findings:
            click.echo(f"{each.state:<8} {each.subject:<13} {each.text}")
    if is_away or any(each.state is State.FAULT for each in findings):
        raise SystemExit(_EXIT_AWAY if is_away else _EXIT_FAULT)


def _server(settings: Settings) -> Iterator[Finding]:
    """What can be asked of the server: how it keeps jobs, and who has signed with which secret."""
    with closing(Store.connect(str(settings.redis_url), secret=settings.group_secret)) as store:
        yield from diagnose(store.ping())
        yield _secret(settings, store)


def _secret(settings: Settings, store: Store) -> Finding:
    own = settings.group_secret
    if own is None:
        text = "not set: the server keeps one, and whoever reaches the server can sign with it"
        if store.keyring.fingerprints().keys() - {store.keyring.secret.fingerprint}:
            return Finding("SECRET_KEY", State.FAULT, f"{text}; other processes have another one. Set it on all hosts")
        return Finding("SECRET_KEY", State.WARNING, text)
    others = store.keyring.fingerprints().keys() - {own.fingerprint}
    if others:
        text = "not that of all processes which began within a day: what one side signs, the other refuses"
        return Finding("SECRET_KEY", State.FAULT, f"{text}. Set the same on all hosts")
    return Finding("SECRET_KEY", State.OK, "set, and the same for all processes that began within a day")


def _tokens(settings: Settings) -> Iterator[Finding]:
    """Who may come in, over HTTP and on the broker."""
    try:
        clients, workers = Clients(**settings.client_tokens), Workers(**settings.worker_tokens)
    except SettingsError as error:
        text = f"{error}. Processes that run keep the last good version; they cannot be restarted"
        yield Finding("tokens", State.FAULT, text)
        return
    if clients.are_configured:
        yield Finding("clients", State.OK, "have tokens")
    else:
        yield Finding("clients", State.FAULT, "nobody could ask for anything: set CLIENT_TOKEN or write a clients.toml")
    if not workers.are_configured:
        text = "trusted: whoever reaches the broker may answer tasks. Set WORKER_TOKEN, or write a workers.toml"
        yield Finding("broker links", State.WARNING, text)
        yield Finding("HTTP links", State.OK, "let nobody in: neither WORKER_TOKEN nor a workers.toml is there")
        return
    text = "answers must be signed with the worker's token; all else on the broker is still trusted"
    yield Finding("broker links", State.OK, text)
    yield Finding("HTTP links", State.OK, "let workers in by their token")


def _files(settings: Settings) -> Iterator[Finding]:
    """Secrets that others on this host can read."""
    named = [settings.clients_config_path, settings.workers_config_path]
    var = sorted(VAR.iterdir()) if VAR.is_dir() and os.access(VAR, os.R_OK) else []
    paths = dict.fromkeys([*filter(None, named), *map(Path, _SECRET_FILES), *var])
    open_ones = [str(path) for path in paths if _is_readable_by_others(path)]
    if open_ones:
        text = f"can be read by others on this host: chmod go-r {' '.join(open_ones)}"
        yield Finding("files", State.WARNING, text)
    else:
        yield Finding("files", State.OK, "none with secrets can be read by others")


def _is_readable_by_others(path: Path) -> bool:
    """By group or world, and in a folder that lets them through."""
    if not path.is_file() or not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return False
    return bool(path.resolve().parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))


def _bucket() -> Iterator[Finding]:
    """Whether the bucket of results answers, where there is one."""
    try:
        config = S3Config.from_environment(os.environ)
        if config is None or config.bucket is None:
            return
        from avtomatika.files.objects import Objects  # boto3 takes its time

        next(Objects(config).below(""), None)
    except AvtomatikaError as error:
        yield Finding("S3", State.FAULT, str(error))
    else:
        yield Finding("S3", State.OK, f"{config.bucket} answers")
