"""Checks of server, secrets and tokens, for ``avtomatika doctor`` and the HTTP API."""

from collections.abc import Iterator

from .store import Finding, HealthState, Store, check_server
from .tokens import Clients, Workers


def server_findings(store: Store) -> Iterator[Finding]:
    """Check how the server stores jobs, and the secrets that processes sign with. Raises UnavailableError."""
    yield from check_server(store.ping())
    yield _secret(store)


def token_findings(clients: Clients, workers: Workers) -> Iterator[Finding]:
    """Check who can authenticate, over HTTP and on the broker."""
    for name, problem in {"clients.toml": clients.problem, "workers.toml": workers.problem}.items():
        if problem is not None:
            yield Finding(name, HealthState.FAULT, f"{problem}. The last valid version is in effect")
    if clients.are_configured:
        yield Finding("clients", HealthState.OK, "have tokens")
    else:
        yield Finding(
            "clients", HealthState.FAULT, "no client can authenticate: set CLIENT_TOKEN or create clients.toml"
        )
    if not workers.are_configured:
        text = "not authenticated: every client of the broker can answer tasks. Set WORKER_TOKEN or create workers.toml"
        yield Finding("broker links", HealthState.WARNING, text)
        yield Finding("HTTP links", HealthState.OK, "reject all workers: neither WORKER_TOKEN nor workers.toml exists")
        return
    text = "results must be signed with the worker's token; other messages on the broker are trusted"
    yield Finding("broker links", HealthState.OK, text)
    yield Finding("HTTP links", HealthState.OK, "authenticate workers by token")


def _secret(store: Store) -> Finding:
    keyring = store.keyring
    others = keyring.fingerprints().keys() - {keyring.secret.fingerprint}
    if not keyring.is_configured:
        text = "not set: the server stores one, and every client of the server can sign messages"
        if others:
            return Finding(
                "SECRET_KEY", HealthState.FAULT, f"{text}; other processes use a different one. Set it on all hosts"
            )
        return Finding("SECRET_KEY", HealthState.WARNING, text)
    if others:
        text = "differs between processes started within a day: they reject each other's messages"
        return Finding("SECRET_KEY", HealthState.FAULT, f"{text}. Set the same on all hosts")
    return Finding("SECRET_KEY", HealthState.OK, "set, and the same in all processes started within a day")
