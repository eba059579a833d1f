"""Workers and their tokens, from ``workers.toml`` and, for workers without a section, ``WORKER_TOKEN``.

The exact section takes precedence, then the longest matching pattern, then the shared token. The shared token is not
valid for an id that a section or pattern matches, or matched within the last 24 hours.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, Self

from avtomatika.core.names import REVOKED, is_user_name
from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.errors import SettingsError, UnauthorizedError

from .hashing import SHORTEST_TOKEN, checked_hash, hash_token, mac_keys, require, section_hashes
from .reloading_toml import Contents, ReloadingToml

#: Worker ids; in patterns also ``*`` and ``?``.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PATTERN = re.compile(r"[A-Za-z0-9_*?-]{1,128}")
_KEYS = frozenset({"token", "token_sha256", "mac_key", "skills", "enabled", "description"})
#: Interval at which the names of all sections are stored again; stored names expire after a day.
_REMEMBER_EVERY_SECONDS = 3600.0
#: Stored names are cached for this long.
_RECALL_CACHE_SECONDS = 1.0
#: Compared with if a worker has no hash, so that this takes as long; no token has it.
_NO_HASH = "0" * 64
_REFUSED = "this worker id and token do not match"


class RevokedNames(Protocol):
    """Stores the names in workers.toml for a day, for all processes, so that a removed worker stays revoked; and, with
    the prefix ``REVOKED``, the ids that operators have revoked."""

    def remember(self, names: Iterable[str]) -> None: ...

    def recall(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class WorkerAccess:
    """The rights of a worker. *skills* is None for all skills; *name* is its section, None for the shared token.

    *may_sign*: its signatures can be verified, so it may answer over a broker. *is_by_session*: it used a temporary
    token. *basis* identifies its own token and changes with it.
    """

    worker_id: str
    name: str | None
    skills: frozenset[str] | None = None
    may_sign: bool = True
    is_by_session: bool = False
    basis: str = field(default="", repr=False, compare=False)

    def may_run(self, task_type: str) -> bool:
        return self.skills is None or task_type in self.skills


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    token_hashes: tuple[str, ...]
    skills: frozenset[str] | None
    enabled: bool
    keys: tuple[WorkerKey, ...]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Hashes of shared tokens, and the keys that their owners sign with."""

    hashes: tuple[str, ...]
    keys: tuple[WorkerKey, ...]

    @classmethod
    def of(cls, hashes: Iterable[str], tokens: Iterable[str]) -> Self:
        return cls(tuple(hashes), tuple(WorkerKey(mac_key_of(token)) for token in tokens))


#: Contents without a file: no sections.
_NO_FILE: Contents[_Section] = Contents({})


class Workers:
    """All workers that may authenticate now. Thread-safe."""

    def __init__(
        self,
        *,
        token: str | None = None,
        previous_token: str | None = None,
        local_token: str | None = None,
        shortest_token: int = SHORTEST_TOKEN,
        path: Path | None = None,
        revoked_names: RevokedNames | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """*token* is the shared one, *previous_token* the one it replaces, *local_token* another one that counts only
        while a workers.toml is in effect; *path* is a workers.toml, which may be created later.

        Raise SettingsError if one of them is invalid. Without *revoked_names* a worker that is removed from the file
        may authenticate with the shared token.
        """
        named = {"WORKER_TOKEN": token, "WORKER_TOKEN_PREVIOUS": previous_token}
        given = {name: value for name, value in named.items() if value is not None}
        hashes = [checked_hash(value, name, shortest=shortest_token) for name, value in given.items()]
        self._shared = _Shared.of(hashes, list(given.values()))
        local = [] if local_token is None else [local_token]
        self._shared_with_local = _Shared.of([*hashes, *map(hash_token, local)], [*given.values(), *local])
        self._file = None if path is None else ReloadingToml(path, _add, fixed={}, what="workers", clock=clock)
        self._revoked_names = revoked_names
        self._clock = clock
        self._remembered: tuple[Mapping[str, _Section], float] | None = None
        self._recalled: tuple[frozenset[str], float] | None = None

    def __bool__(self) -> bool:
        """True if any worker could authenticate."""
        contents = self._contents
        return not contents.revokes_all and bool(self._shared_now.hashes or contents.known)

    @property
    def names(self) -> tuple[str, ...]:
        """Ids and patterns of all sections, in the order of the file."""
        return tuple(self._contents.known)

    @property
    def are_configured(self) -> bool:
        """True if there is a shared token or a file. Otherwise no token is needed on the broker."""
        return bool(self._shared.hashes) or self._is_file_loaded

    @property
    def problem(self) -> str | None:
        """The reason why the current workers.toml is not in effect; None if it is."""
        return None if self._file is None else self._file.problem

    def identify(self, worker_id: str, token: str) -> WorkerAccess:
        """Return the rights of *worker_id*.

        Raise UnauthorizedError unless *token* is its own, UnavailableError if the stored names cannot be read.
        """
        section, asked = self._section_of(worker_id), hash_token(token)
        right = [known for known in self._hashes(section) or (_NO_HASH,) if hmac.compare_digest(known, asked)]
        if not right:
            raise UnauthorizedError(_REFUSED)
        return self._authorized(worker_id, section, right[-1])

    def identify_session(self, worker_id: str, basis: str) -> WorkerAccess:
        """Do the same for a temporary token; *basis* identifies the token that it was issued for."""
        section = self._section_of(worker_id)
        right = next((known for known in self._hashes(section) if hash_token(known) == basis), None)
        if right is None:
            raise UnauthorizedError("the worker's token has changed")
        return self._authorized(worker_id, section, right, is_by_session=True)

    def may_authenticate(self, worker_id: str) -> bool:
        """Return whether *worker_id* has a token or needs none. Raise UnavailableError like :meth:`identify`."""
        if not self.are_configured:
            return not self._is_revoked(worker_id)
        try:
            section = self._section_of(worker_id)
            return any(self._authorized(worker_id, section, known) for known in self._hashes(section)[:1])
        except UnauthorizedError:
            return False

    def _authorized(
        self, worker_id: str, section: _Section | None, token_hash: str, *, is_by_session: bool = False
    ) -> WorkerAccess:
        is_revoked = self._was_named(worker_id) if section is None else not section.enabled
        if is_revoked:
            raise UnauthorizedError(_REFUSED)
        access = WorkerAccess(worker_id, None, is_by_session=is_by_session, basis=hash_token(token_hash))
        if section is None:
            return access
        return replace(access, name=section.name, skills=section.skills, may_sign=bool(section.keys))

    def skills_of_signer(self, worker_id: str | None, text: bytes) -> frozenset[str] | None:
        """Return the skills that *worker_id* may run, None for all. Without tokens no signature is needed.

        Raise UnauthorizedError unless it may authenticate and signed *text*, UnavailableError if stored names cannot
        be read. Signatures cannot be verified by a hash alone: workers of such sections must use HTTP.
        """
        if not self.are_configured and not (worker_id and self._is_revoked(worker_id)):
            return None
        if worker_id is None:
            raise UnauthorizedError("the message names no worker")
        section = self._section_of(worker_id)
        if section is not None:
            if section.enabled and any(key.is_signed(text) for key in section.keys):
                return section.skills
        elif any(key.is_signed(text) for key in self._shared_now.keys) and not self._was_named(worker_id):
            return None
        raise UnauthorizedError(_REFUSED)

    def _section_of(self, worker_id: str) -> _Section | None:
        """Return the section of *worker_id*, else that with the longest matching pattern; None for the shared token.
        Raise UnauthorizedError for an invalid id."""
        contents = self._contents
        if contents.revokes_all or not _ID.fullmatch(worker_id) or self._is_revoked(worker_id):
            raise UnauthorizedError(_REFUSED)
        self._remember(contents.known)
        if worker_id in contents.known:
            return contents.known[worker_id]
        matching = (section for name, section in contents.known.items() if fnmatchcase(worker_id, name))
        return max(matching, key=lambda section: len(section.name), default=None)

    def _hashes(self, section: _Section | None) -> tuple[str, ...]:
        return self._shared_now.hashes if section is None else section.token_hashes

    @property
    def _contents(self) -> Contents[_Section]:
        return _NO_FILE if self._file is None else self._file.contents

    @property
    def _is_file_loaded(self) -> bool:
        """Check for changes first: the file may just have been created."""
        return self._contents is not _NO_FILE and self._file is not None and self._file.is_loaded

    @property
    def _shared_now(self) -> _Shared:
        return self._shared_with_local if self._is_file_loaded else self._shared

    def _remember(self, sections: Mapping[str, _Section]) -> None:
        """Store the names of all *sections* before one of them can be removed."""
        if self._revoked_names is None or not sections:
            return
        remembered, now = self._remembered, self._clock()
        if remembered is None or remembered[0] is not sections or now - remembered[1] > _REMEMBER_EVERY_SECONDS:
            self._revoked_names.remember(sections)
            self._remembered = sections, now

    def _was_named(self, worker_id: str) -> bool:
        return any(fnmatchcase(worker_id, name) for name in self._recall())

    def _is_revoked(self, worker_id: str) -> bool:
        return REVOKED + worker_id in self._recall()

    def _recall(self) -> frozenset[str]:
        if self._revoked_names is None:
            return frozenset()
        recalled, now = self._recalled, self._clock()
        if recalled is None or now - recalled[1] > _RECALL_CACHE_SECONDS:
            recalled = self._recalled = self._revoked_names.recall(), now
        return recalled[0]


def _add(name: str, section: Any, known: dict[str, _Section]) -> None:
    if not _PATTERN.fullmatch(name):
        raise SettingsError(f"the id {name!r} must be 1 to 128 letters, digits, '_' or '-' ('*' and '?' in a pattern)")
    unknown = sorted(section.keys() - _KEYS)
    if unknown:
        raise SettingsError(f"[{name}] has {unknown[0]!r}, but a worker has only {', '.join(sorted(_KEYS))}")
    if not isinstance(section.get("description", ""), str):
        raise SettingsError(f"description of [{name}] must be text")
    enabled = section.get("enabled", True)
    require(isinstance(enabled, bool), name, "enabled", enabled, "true or false")
    known[name] = _Section(
        name,
        section_hashes(name, section.get("token"), section.get("token_sha256")),
        _skills(name, section.get("skills")),
        enabled,
        mac_keys(name, section.get("token"), section.get("mac_key")),
    )


def _skills(name: str, skills: object) -> frozenset[str] | None:
    if skills is None:
        return None
    if not isinstance(skills, list) or not all(map(is_user_name, skills)):
        raise SettingsError(f"skills of [{name}] are {skills!r}, but must be a list of names of skills")
    return frozenset(skills)
