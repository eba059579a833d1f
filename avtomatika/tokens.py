"""Who may ask: clients and their tokens, from ``CLIENT_TOKEN`` and ``clients.toml``.

The file is read again when it changes; one that does not parse leaves the old clients in force. Only hashes of tokens
are kept, and nothing here ever shows one.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from avtomatika.core.job import Json
from avtomatika.core.names import is_name
from avtomatika.errors import SettingsError, Unauthorized

logger = logging.getLogger(__name__)

#: The client that ``CLIENT_TOKEN`` belongs to.
OPERATOR = "operator"
#: How often, at most, the file is looked at.
CHECK_INTERVAL_SECONDS = 1.0
#: ``client`` sees its own jobs, ``operator`` sees all.
ROLES = ("client", "operator")
#: Printable ASCII without spaces: what every HTTP client can send in a header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: When two of these are the same, so is the file: mtime, inode, size.
_Signature = tuple[int, int, int]


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


def hash_token(token: str) -> str:
    """What may be kept of *token*: the hex SHA-256, as ``token_sha256`` takes it."""
    return sha256(token.encode()).hexdigest()


class Clients:
    """All clients there are now. Threads may share it."""

    def __init__(
        self, *, token: str | None = None, path: Path | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """*token* is the operator's, *path* a clients.toml. Raises SettingsError saying what is wrong where."""
        self._fixed: _Known = {}
        if token is not None:
            self._fixed[_token_hash(token, "CLIENT_TOKEN")] = Client(OPERATOR, role=OPERATOR)
        self._path = path
        self._signature = None if path is None else _signature(path)
        self._known = self._fixed if path is None else _with_file(self._fixed, path)
        self._clock = clock
        self._checked_at = clock()
        self._checking = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def identify(self, token: str) -> Client:
        """The client that *token* belongs to; raises Unauthorized where nobody has it."""
        self._look_at_file()
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
        self._look_at_file()
        return next((client for client in self._known.values() if client.name == name), None)

    def _look_at_file(self) -> None:
        """Read the file again if it changed. One thread looks, at most once a second; the others go on."""
        if self._path is None or self._clock() - self._checked_at < CHECK_INTERVAL_SECONDS:
            return
        if not self._checking.acquire(blocking=False):
            return
        try:
            self._checked_at = self._clock()
            self._read_if_changed(self._path)
        finally:
            self._checking.release()

    def _read_if_changed(self, path: Path) -> None:
        signature = _signature(path)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._known = _with_file(self._fixed, path)
        except SettingsError as error:
            logger.error("%s; the clients known so far stay in force", error)
            return
        logger.info("%s was read again: %d clients", path, len(self._known))


#: Hex SHA-256 of the token -> whose it is.
_Known = dict[str, Client]


def _with_file(fixed: _Known, path: Path) -> _Known:
    """*fixed* and the clients of the file at *path*."""
    try:
        text = path.read_text(encoding="utf-8")
        sections = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    _warn_if_readable_by_others(path)
    known = dict(fixed)
    for name, section in sections.items():
        try:
            token_hash, client = _client(name, section)
            _refuse_twin(known, token_hash, client)
        except SettingsError as error:
            raise SettingsError(f"{path}, line {_line_of(name, text)}: {error}") from None
        known[token_hash] = client
    return known


def _client(name: str, section: Any) -> tuple[str, Client]:
    if not isinstance(section, dict):
        raise SettingsError(f"{name!r} must be a section, [{name}], with a token")
    if not is_name(name):
        raise SettingsError(f"the name {name!r} must be 1 to 64 letters, digits, '_' or '-'")
    params = dict(section)
    token_hash = _section_hash(name, params.pop("token", None), params.pop("token_sha256", None))
    client = Client(
        name,
        role=_role(name, params.pop("role", "client")),
        plan=_plan(name, params.pop("plan", None)),
        monthly_attempts=_attempts(name, params.pop("monthly_attempts", None)),
        params=params,
    )
    return token_hash, client


def _section_hash(name: str, token: object, token_sha256: object) -> str:
    if (token is None) == (token_sha256 is None):
        raise SettingsError(f"[{name}] needs either token or token_sha256")
    if token is not None:
        return _token_hash(token, f"the token of [{name}]")
    if not isinstance(token_sha256, str) or not _SHA256.fullmatch(token_sha256):
        raise SettingsError(f"token_sha256 of [{name}] must be 64 hex digits, in lower case")
    return token_sha256


def _token_hash(token: object, what: str) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise SettingsError(f"{what} must be 1 to 512 ASCII characters without spaces")
    return hash_token(token)


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


def _line_of(name: str, text: str) -> int:
    """Where the section, or the key, called *name* begins (from 1)."""
    word = re.escape(name)
    begin = re.compile(rf"""\s*(\[\s*["']?{word}["']?\s*[].]|["']?{word}["']?\s*[=.])""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if begin.match(line)), 1)


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _warn_if_readable_by_others(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        logger.warning("%s holds secrets and can be read by everybody on this host: chmod o-r it", path)
