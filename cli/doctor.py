"""``avtomatika doctor``: report faults and risks of this installation and how to remove them."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from avtomatika.archive import open_archive
from avtomatika.diagnosis import server_findings, token_findings
from avtomatika.errors import AvtomatikaError, SettingsError, UnavailableError
from avtomatika.files.config import S3Config
from avtomatika.local_installation import VAR
from avtomatika.schemas import server_answers as answers
from avtomatika.schemas.responses import dump
from avtomatika.settings import Settings
from avtomatika.store import Finding, HealthState, Store
from avtomatika.tokens import Clients, Workers

from .address import is_loopback
from .api import api_options, connected, uses_server
from .environment import join_local
from .output import json_option, print_json

#: Usual names of files that hold secrets.
_SECRET_FILES = (".env", "clients.toml", "workers.toml")
_EXIT_FAULT = 1
_EXIT_UNREACHABLE = 3


@click.command("doctor")
@json_option
@api_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Report faults and risks of this installation.

    Run it on each host, in the folder and with the environment of its processes. With --url, the web process at that
    address checks its side. Exits 0 if there are at most warnings, 1 if there is a fault, 3 if the server is
    unreachable.
    """
    is_local = uses_server(ctx)
    check = _of_the_server if is_local else connected(ctx).doctor
    is_unreachable = False
    try:
        findings = list(check())
    except UnavailableError as error:
        is_unreachable = True
        findings = [dump(answers.Finding, Finding("server", HealthState.FAULT, str(error)))]
    if is_local:  # now with the secrets of this folder
        findings += dump(answers.Finding, _of_this_host(), many=True)
    if as_json:
        print_json(findings)
    else:
        for each in findings:
            click.echo(f"{each['state']:<8} {each['subject']:<13} {each['finding']}")
    if is_unreachable or any(each["state"] == HealthState.FAULT for each in findings):
        raise SystemExit(_EXIT_UNREACHABLE if is_unreachable else _EXIT_FAULT)


def _of_the_server() -> Any:
    settings = join_local()
    archive = open_archive(settings.history_database_uri)
    url, prefixes = str(settings.redis_url), settings.key_prefixes
    with closing(Store.connect(url, prefixes=prefixes, secret=settings.group_secret, archive=archive)) as store:
        return dump(answers.Finding, [*server_findings(store), _password(url)], many=True)


def _password(url: str) -> Finding:
    """Check that the server requires a password, unless only this host reaches it."""
    parts = urlsplit(url)
    if parts.password:
        return Finding("password", HealthState.OK, "REDIS_URL has one")
    if parts.scheme == "unix" or is_loopback(parts.hostname or "localhost"):
        return Finding("password", HealthState.OK, "none, and the server is on this host")
    text = "none: every host that reaches the server can read and change all jobs. Set requirepass or an ACL"
    return Finding("password", HealthState.FAULT, text)


def _of_this_host() -> Iterator[Finding]:
    """Yield the findings that need no server."""
    settings = Settings.from_environment()
    yield from _tokens(settings)
    yield from _files(settings)
    yield from _bucket()


def _tokens(settings: Settings) -> Iterator[Finding]:
    try:
        clients, workers = Clients(**settings.client_tokens), Workers(**settings.worker_tokens)
    except SettingsError as error:
        text = f"{error}. Running processes keep the last valid version, but cannot be restarted"
        yield Finding("tokens", HealthState.FAULT, text)
        return
    yield from token_findings(clients, workers)


def _files(settings: Settings) -> Iterator[Finding]:
    """Check that files with secrets are readable by their owner only."""
    named = [settings.clients_config_path, settings.workers_config_path]
    var = sorted(VAR.iterdir()) if VAR.is_dir() and os.access(VAR, os.R_OK) else []
    paths = dict.fromkeys([*filter(None, named), *map(Path, _SECRET_FILES), *var])
    open_ones = [str(path) for path in paths if _is_readable_by_others(path)]
    if open_ones:
        text = f"readable by other users of this host: chmod go-r {' '.join(open_ones)}"
        yield Finding("files", HealthState.WARNING, text)
    else:
        yield Finding("files", HealthState.OK, "files with secrets are readable by their owner only")


def _is_readable_by_others(path: Path) -> bool:
    """Return whether group or world can read *path* and enter its folder."""
    if not path.is_file() or not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return False
    return bool(path.resolve().parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))


def _bucket() -> Iterator[Finding]:
    """Check that the bucket of results, if configured, can be read and written."""
    try:
        config = S3Config.from_environment()
    except SettingsError as error:
        yield Finding("S3", HealthState.FAULT, str(error))
        return
    if config is None:
        return
    if config.bucket is None:
        yield Finding(
            "S3",
            HealthState.WARNING,
            "S3_BUCKET is not set: tasks can download files, but their results cannot contain any",
        )
        return
    from avtomatika.files.bucket import Bucket  # boto3 is slow to import

    objects = Bucket(config)
    try:
        objects.check()
    except AvtomatikaError as error:
        path = urlsplit(config.endpoint_url or "").path.strip("/")
        hint = f". S3_ENDPOINT_URL has the path '/{path}', which most servers reject" if path else ""
        yield Finding("S3", HealthState.FAULT, f"{error}{hint}")
    else:
        yield Finding("S3", HealthState.OK, f"{config.bucket} can be read and written")
    finally:
        objects.close()
