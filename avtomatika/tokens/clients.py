"""Clients and their tokens, from ``CLIENT_TOKEN`` and ``clients.toml``."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from avtomatika.core.job import Json
from avtomatika.core.names import is_name
from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import SettingsError, UnauthorizedError

from .hashing import checked_hash, hash_token, require, section_hashes
from .reloading_toml import ReloadingToml

#: The client that ``CLIENT_TOKEN`` belongs to.
OPERATOR = "operator"
#: ``client`` sees its own jobs, ``operator`` sees all, ``viewer`` sees all and changes nothing.
ROLES = ("client", "operator", "viewer")


@dataclass(frozen=True, slots=True)
class ClientAccount:
    """A client that may create jobs. Its tasks have *weight* turns at workers. *roles* are those that approvals name,
    *params* are other keys of its section, for handlers (``client.params``)."""

    name: str
    role: str = "client"
    plan: str | None = None
    monthly_attempts: int | None = None
    rate_limit: RateLimit | None = None
    roles: tuple[str, ...] = ()
    weight: float = 1
    params: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_operator(self) -> bool:
        """True if the client may see all jobs, and change them unless it :attr:`is_read_only`."""
        return self.role in (OPERATOR, "viewer")

    @property
    def is_read_only(self) -> bool:
        """True if the client may change nothing."""
        return self.role == "viewer"


#: Hex SHA-256 of a token -> its client.
_Known = dict[str, ClientAccount]


class Clients:
    """All current clients. Thread-safe."""

    def __init__(
        self,
        *,
        token: str | None = None,
        previous_token: str | None = None,
        path: Path | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """*token* is the operator's, *previous_token* the one it replaces; *path* is a clients.toml, which may be
        created later. Raises SettingsError if one of them is invalid."""
        operator = ClientAccount(OPERATOR, role=OPERATOR)
        named = {"CLIENT_TOKEN": token, "CLIENT_TOKEN_PREVIOUS": previous_token}
        self._fixed: _Known = {
            checked_hash(value, variable): operator for variable, value in named.items() if value is not None
        }
        self._file = None if path is None else ReloadingToml(path, _add, fixed=self._fixed, what="clients", clock=clock)

    def __len__(self) -> int:
        return len({client.name for client in self._known.values()})

    @property
    def are_configured(self) -> bool:
        """True if there is an operator's token or a clients.toml."""
        return bool(self._fixed) or (self._file is not None and self._file.is_loaded)

    @property
    def problem(self) -> str | None:
        """The reason why the current clients.toml is not in effect; None if it is."""
        return None if self._file is None else self._file.problem

    def identify(self, token: str) -> ClientAccount:
        """Return the client with this *token*. Raise UnauthorizedError for an unknown one."""
        asked = hash_token(token)
        # Compare all: the duration must not reveal a match.
        found = [client for known, client in self._known.items() if hmac.compare_digest(known, asked)]
        if not found:
            raise UnauthorizedError("no client has this token")
        return found[-1]

    @property
    def weights(self) -> dict[str, float] | None:
        """The weights of the clients that have one, None without a clients.toml."""
        if self._file is None or not self._file.is_loaded:
            return None
        return {client.name: client.weight for client in self._known.values() if client.weight != 1}

    def get(self, name: str) -> ClientAccount | None:
        """Return the client called *name*, or None."""
        return next((client for client in self._known.values() if client.name == name), None)

    def has_fingerprint(self, name: str, fingerprint: str) -> bool:
        """Return whether the client called *name* has a token with this *fingerprint*."""
        return any(
            token_fingerprint(known) == fingerprint for known, client in self._known.items() if client.name == name
        )

    @property
    def _known(self) -> Mapping[str, ClientAccount]:
        return self._fixed if self._file is None else self._file.contents.known


def token_fingerprint(token_hash: str) -> str:
    """Return a short id of the token with *token_hash* that does not reveal the token."""
    return hash_token(token_hash)[:16]


def _add(name: str, section: Any, known: _Known) -> None:
    if not is_name(name):
        raise SettingsError(f"the name {name!r} must be 1 to 64 letters, digits, '_' or '-'")
    params = dict(section)
    hashes = section_hashes(name, params.pop("token", None), params.pop("token_sha256", None))
    role, plan, weight = params.pop("role", "client"), params.pop("plan", None), params.pop("weight", 1)
    roles = params.get("roles", [])
    are_names = isinstance(roles, list) and all(isinstance(each, str) and is_name(each) for each in roles)
    require(are_names, name, "roles", roles, "a list of names")
    attempts, rate = params.pop("monthly_attempts", None), params.pop("rate_limit", None)
    require(role in ROLES, name, "role", role, f"one of {', '.join(ROLES)}")
    require(plan is None or isinstance(plan, str), name, "plan", plan, "text")
    is_count = attempts is None or (type(attempts) is int and attempts >= 0)
    require(is_count, name, "monthly_attempts", attempts, "a whole number from 0")
    is_weight = type(weight) in (int, float)
    require(is_weight and 0.01 <= weight <= 100, name, "weight", weight, "a number from 0.01 to 100")
    for other in (known[token_hash] for token_hash in hashes if token_hash in known):
        raise SettingsError(f"[{name}] has the same token as {other.name!r}")  # else jobs would belong to either
    if any(other.name == name for other in known.values()):
        raise SettingsError(f"[{name}] is the client of CLIENT_TOKEN already: give the section another name")
    try:
        limit = None if rate is None else RateLimit.parse(rate)
    except ValueError as error:
        raise SettingsError(f"rate_limit of [{name}] {error}") from None
    known.update(dict.fromkeys(hashes, ClientAccount(name, role, plan, attempts, limit, tuple(roles), weight, params)))
