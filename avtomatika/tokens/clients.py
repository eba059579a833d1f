"""Clients and their tokens, from ``CLIENT_TOKEN`` and ``clients.toml``."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from avtomatika.core.job import Json
from avtomatika.core.names import is_name
from avtomatika.errors import SettingsError, Unauthorized

from .hashing import checked_hash, hash_token, section_hash
from .watched import WatchedFile

#: The client that ``CLIENT_TOKEN`` belongs to.
OPERATOR = "operator"
#: ``client`` sees its own jobs, ``operator`` sees all.
ROLES = ("client", "operator")


@dataclass(frozen=True, slots=True)
class Client:
    """Who may create jobs. *params* are the further keys of its section: handlers see them as ``client.params``."""

    name: str
    role: str = "client"
    plan: str | None = None
    monthly_attempts: int | None = None
    params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_operator(self) -> bool:
        """Whether the client sees and does everything."""
        return self.role == OPERATOR


#: Hex SHA-256 of the token -> whose it is.
_Known = dict[str, Client]


class Clients:
    """All clients there are now. Threads may share it."""

    def __init__(
        self, *, token: str | None = None, path: Path | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """*token* is the operator's, *path* a clients.toml. Raises SettingsError saying what is wrong where."""
        self._fixed: _Known = {}
        if token is not None:
            self._fixed[checked_hash(token, "CLIENT_TOKEN")] = Client(OPERATOR, role=OPERATOR)
        self._file = None if path is None else WatchedFile(path, _add, fixed=self._fixed, what="clients", clock=clock)

    def __len__(self) -> int:
        return len(self._known)

    def identify(self, token: str) -> Client:
        """The client that *token* belongs to; raises Unauthorized where nobody has it."""
        asked = hash_token(token)
        found: Client | None = None
        for known, client in self._known.items():  # all of them: the time tells nothing
            if hmac.compare_digest(known, asked):
                found = client
        if found is None:
            raise Unauthorized("no client has this token")
        return found

    def get(self, name: str) -> Client | None:
        """The client called *name*, if there (still) is one."""
        return next((client for client in self._known.values() if client.name == name), None)

    def mark(self, name: str) -> str | None:
        """Changes with the token of the client called *name*, and tells nothing of it; None where there is no such."""
        return next((hash_token(known)[:16] for known, client in self._known.items() if client.name == name), None)

    @property
    def _known(self) -> Mapping[str, Client]:
        return self._fixed if self._file is None else self._file.known


def _add(name: str, section: Any, known: _Known) -> None:
    if not is_name(name):
        raise SettingsError(f"the name {name!r} must be 1 to 64 letters, digits, '_' or '-'")
    params = dict(section)
    token_hash = section_hash(name, params.pop("token", None), params.pop("token_sha256", None))
    client = Client(
        name,
        role=_role(name, params.pop("role", "client")),
        plan=_plan(name, params.pop("plan", None)),
        monthly_attempts=_attempts(name, params.pop("monthly_attempts", None)),
        params=params,
    )
    _refuse_twin(known, token_hash, client)
    known[token_hash] = client


def _role(name: str, role: object) -> str:
    if role not in ROLES:
        raise SettingsError(f"role of [{name}] is {role!r}, but must be one of {', '.join(ROLES)}")
    return str(role)


def _plan(name: str, plan: object) -> str | None:
    if plan is not None and not isinstance(plan, str):
        raise SettingsError(f"plan of [{name}] is {plan!r}, but must be text")
    return plan


def _attempts(name: str, attempts: object) -> int | None:
    if attempts is None:
        return None
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 0:
        raise SettingsError(f"monthly_attempts of [{name}] is {attempts!r}, but must be a whole number from 0")
    return attempts


def _refuse_twin(known: _Known, token_hash: str, client: Client) -> None:
    """One token, one client; one name, one client: else it would be chance whose a job is."""
    if token_hash in known:
        raise SettingsError(f"[{client.name}] has the same token as {known[token_hash].name!r}")
    if any(other.name == client.name for other in known.values()):
        raise SettingsError(f"[{client.name}] is the client of CLIENT_TOKEN already: give the section another name")
