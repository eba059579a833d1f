"""What is wrong with server, secrets and tokens: for ``avtomatika doctor`` and the HTTP API alike."""

from __future__ import annotations

from collections.abc import Iterator

from .store import Finding, HealthState, Store, check_server
from .tokens import Clients, Workers


def server_findings(store: Store) -> Iterator[Finding]:
    """How the server keeps jobs, and which secrets processes sign with. Raises UnavailableError."""
    yield from check_server(store.ping())
    yield _secret(store)


def token_findings(clients: Clients, workers: Workers) -> Iterator[Finding]:
    """Who can authenticate, over HTTP and on the broker."""
    for name, problem in {"clients.toml": clients.problem, "workers.toml": workers.problem}.items():
        if problem is not None:
            yield Finding(name, HealthState.FAULT, f"{problem}. The last good version is in force")
    if clients.are_configured:
        yield Finding("clients", HealthState.OK, "have tokens")
    else:
        yield Finding(
            "clients", HealthState.FAULT, "nobody could ask for anything: set CLIENT_TOKEN or write a clients.toml"
        )
    if not workers.are_configured:
        text = "trusted: whoever reaches the broker may answer tasks. Set WORKER_TOKEN, or write a workers.toml"
        yield Finding("broker links", HealthState.WARNING, text)
        yield Finding("HTTP links", HealthState.OK, "let nobody in: neither WORKER_TOKEN nor a workers.toml is there")
        return
    text = "answers must be signed with the worker's token; all else on the broker is still trusted"
    yield Finding("broker links", HealthState.OK, text)
    yield Finding("HTTP links", HealthState.OK, "let workers in by their token")


def _secret(store: Store) -> Finding:
    keyring = store.keyring
    others = keyring.fingerprints().keys() - {keyring.secret.fingerprint}
    if not keyring.is_configured:
        text = "not set: the server keeps one, and whoever reaches the server can sign with it"
        if others:
            return Finding(
                "SECRET_KEY", HealthState.FAULT, f"{text}; other processes have another one. Set it on all hosts"
            )
        return Finding("SECRET_KEY", HealthState.WARNING, text)
    if others:
        text = "not that of all processes which began within a day: what one side signs, the other refuses"
        return Finding("SECRET_KEY", HealthState.FAULT, f"{text}. Set the same on all hosts")
    return Finding("SECRET_KEY", HealthState.OK, "set, and the same for all processes that began within a day")
