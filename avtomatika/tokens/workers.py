"""Workers and their tokens, from ``workers.toml`` and, for those that it does not name, ``WORKER_TOKEN``.

An exact section goes before patterns, the longest pattern before others; the shared token is asked last, and never for
an id that a section or a pattern names, or named within the last 24 hours.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from avtomatika.core.names import is_user_name
from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.errors import SettingsError, Unauthorized

from .hashing import checked_hash, checked_mac_key, hash_token, section_hash
from .watched import WatchedFile

#: Worker ids; in patterns also ``*`` and ``?``.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PATTERN = re.compile(r"[A-Za-z0-9_*?-]{1,128}")
_KEYS = frozenset({"token", "token_sha256", "mac_key", "skills", "enabled", "description"})
#: How often the names of all sections are told to the memory, at least: they are remembered for a day from then.
_REMEMBER_EVERY_SECONDS = 3600.0
#: How long what the memory said holds good.
_RECALL_EVERY_SECONDS = 1.0
#: Compared with where there is nothing to compare: it takes as long, and no token has it.
_NO_HASH = "0" * 64
_REFUSED = "this worker id and token do not fit"


class Memory(Protocol):
    """Remembers for a day, for all processes, which names stood in the file: who was taken out stays out."""

    def remember(self, names: Iterable[str]) -> None: ...

    def recall(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class WorkerAccess:
    """What a worker may do: *skills* None means all. *name* is its section, None for the shared token.

    *may_sign*: there is something to check its signatures by, so it may answer over a broker. *is_by_session*: it came
    with a token for a while; *basis* is another one once its own token is.
    """

    worker_id: str
    name: str | None
    skills: frozenset[str] | None = None
    may_sign: bool = True
    is_by_session: bool = False
    basis: str = field(default="", repr=False, compare=False)

    def may_do(self, task_type: str) -> bool:
        return self.skills is None or task_type in self.skills


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    token_hash: str
    skills: frozenset[str] | None
    enabled: bool
    key: WorkerKey | None

    def names(self, worker_id: str) -> bool:
        return fnmatchcase(worker_id, self.name)


class Workers:
    """All workers that may come in now. Threads may share it."""

    def __init__(
        self,
        *,
        token: str | None = None,
        path: Path | None = None,
        memory: Memory | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """*token* is the shared one, *path* a workers.toml. Raises SettingsError saying what is wrong where.

        Without a *memory* those who are taken out of the file may come back with the shared token.
        """
        self._shared_hash = None if token is None else checked_hash(token, "WORKER_TOKEN")
        self._shared_key = None if token is None else WorkerKey(mac_key_of(token))
        self._file = None if path is None else WatchedFile(path, _add, fixed={}, what="workers", clock=clock)
        self._memory = memory
        self._clock = clock
        self._told: tuple[Mapping[str, _Section], float] | None = None
        self._recalled: tuple[frozenset[str], float] | None = None

    def __bool__(self) -> bool:
        """Whether anybody could come in."""
        return self._shared_hash is not None or bool(self._sections)

    @property
    def names(self) -> tuple[str, ...]:
        """Ids and patterns of all sections, in the order of the file."""
        return tuple(self._sections)

    def identify(self, worker_id: str, token: str) -> WorkerAccess:
        """What *worker_id* may do; raises Unauthorized unless *token* is its own, and Unavailable by the memory."""
        section, asked = self._section_of(worker_id), hash_token(token)
        right = (self._shared_hash or _NO_HASH) if section is None else section.token_hash
        if not hmac.compare_digest(right, asked):
            raise Unauthorized(_REFUSED)
        return self._let_in(worker_id, section)

    def vouched_for(self, worker_id: str) -> WorkerAccess:
        """The same where something else stands for the token; only the ``basis`` tells whether it still does."""
        return replace(self._let_in(worker_id, self._section_of(worker_id)), is_by_session=True)

    def _let_in(self, worker_id: str, section: _Section | None) -> WorkerAccess:
        if section is not None and section.enabled:
            may_sign = section.key is not None
            basis = hash_token(section.token_hash)
            return WorkerAccess(worker_id, section.name, section.skills, may_sign=may_sign, basis=basis)
        if section is None and self._shared_hash is not None and not self._was_named(worker_id):
            return WorkerAccess(worker_id, None, basis=hash_token(self._shared_hash))
        raise Unauthorized(_REFUSED)

    def skills_of_signer(self, worker_id: str, text: bytes) -> frozenset[str] | None:
        """The skills that *worker_id* may do, None for all; raises Unauthorized unless it may come in and has signed
        *text*, and Unavailable by the memory.

        A section with a hash alone has nothing to check signatures by: its workers come in over HTTP.
        """
        section = self._section_of(worker_id)
        if section is not None:
            if section.enabled and section.key is not None and section.key.is_signed(text):
                return section.skills
        elif self._shared_key is not None and self._shared_key.is_signed(text) and not self._was_named(worker_id):
            return None
        raise Unauthorized(_REFUSED)

    def _section_of(self, worker_id: str) -> _Section | None:
        """The section for *worker_id*, None where that is the shared token; raises Unauthorized for what is no id."""
        if not _ID.fullmatch(worker_id):
            raise Unauthorized(_REFUSED)
        sections = self._sections
        self._tell(sections)
        return sections.get(worker_id) or _pattern_for(worker_id, sections)

    @property
    def are_configured(self) -> bool:
        """Whether there is a shared token or a file; else workers on the broker need none, and no others come in."""
        return self._shared_hash is not None or self._file is not None

    @property
    def _sections(self) -> Mapping[str, _Section]:
        return {} if self._file is None else self._file.known

    def _tell(self, sections: Mapping[str, _Section]) -> None:
        """Have the memory know all *sections* before one of them can go."""
        if self._memory is None or not sections:
            return
        told, now = self._told, self._clock()
        if told is None or told[0] is not sections or now - told[1] > _REMEMBER_EVERY_SECONDS:
            self._memory.remember(sections)
            self._told = sections, now

    def _was_named(self, worker_id: str) -> bool:
        if self._memory is None:
            return False
        recalled, now = self._recalled, self._clock()
        if recalled is None or now - recalled[1] > _RECALL_EVERY_SECONDS:
            recalled = self._recalled = self._memory.recall(), now
        return any(fnmatchcase(worker_id, name) for name in recalled[0])


def _pattern_for(worker_id: str, sections: Mapping[str, _Section]) -> _Section | None:
    """The longest pattern that names *worker_id*."""
    fitting = (section for section in sections.values() if section.names(worker_id))
    return max(fitting, key=lambda section: len(section.name), default=None)


def _add(name: str, section: Any, known: dict[str, _Section]) -> None:
    if not _PATTERN.fullmatch(name):
        raise SettingsError(f"the id {name!r} must be 1 to 128 letters, digits, '_' or '-' ('*' and '?' in a pattern)")
    unknown = sorted(section.keys() - _KEYS)
    if unknown:
        raise SettingsError(f"[{name}] has {unknown[0]!r}, but a worker has only {', '.join(sorted(_KEYS))}")
    if not isinstance(section.get("description", ""), str):
        raise SettingsError(f"description of [{name}] must be text")
    known[name] = _Section(
        name,
        section_hash(name, section.get("token"), section.get("token_sha256")),
        _skills(name, section.get("skills")),
        _enabled(name, section.get("enabled", True)),
        checked_mac_key(name, section.get("token"), section.get("mac_key")),
    )


def _skills(name: str, skills: object) -> frozenset[str] | None:
    if skills is None:
        return None
    if not isinstance(skills, list) or not all(map(is_user_name, skills)):
        raise SettingsError(f"skills of [{name}] are {skills!r}, but must be a list of names of skills")
    return frozenset(skills)


def _enabled(name: str, enabled: object) -> bool:
    if not isinstance(enabled, bool):
        raise SettingsError(f"enabled of [{name}] is {enabled!r}, but must be true or false")
    return enabled
