"""The Lua scripts. Each names its keys and arguments at its top; parts are put in front of those that use them.

A script writes everything or nothing: it reads and checks first, with ``expect`` the types of keys that it only writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import TypeAlias

Argument: TypeAlias = str | bytes | int | float

_FOLDER = Path(__file__).parent / "lua"
#: A full server still runs what finishes or shrinks something ...
_FINISHES = "#!lua flags=allow-oom\n"
#: ... and refuses, before it writes anything, what begins something.
_BEGINS = "#!lua\n"
#: In front of every script.
EXPECT = (_FOLDER / "expect.lua").read_text()


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    #: The server's name for the text. It is not a matter of security.
    sha: str

    @classmethod
    def read(cls, name: str, *parts: str, header: str = _FINISHES) -> Script:
        text = "\n".join((header + EXPECT, *((_FOLDER / f"{part}.lua").read_text() for part in (*parts, name))))
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call:
    """One run of *script*."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Argument]

    @property
    def command(self) -> tuple[Argument, ...]:
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    @property
    def command_with_text(self) -> tuple[Argument, ...]:
        """The same for a server that does not know the script, or may forget it at any moment."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


ACK = Script.read("ack", "held")
BEAT = Script.read("beat", "pulse")
BURY = Script.read("bury", "held")
CLEAN = Script.read("clean")
DECLARE = Script.read("declare", header=_BEGINS)
DELETE = Script.read("delete")
DUE = Script.read("due")
EXPIRED = Script.read("expired")
LIMIT = Script.read("limit")
LISTEN = Script.read("listen", "entry")
PLACE = Script.read("place")
PUBLISH = Script.read("publish", "life", header=_BEGINS)
PUBLISH_MANY = Script.read("settle", "held", "life", header=_BEGINS)
PURGE = Script.read("purge")
RENEW = Script.read("renew", "held")
REQUEUE = Script.read("requeue", "held", "entry")
REVIVE = Script.read("revive", header=_BEGINS)
SETTLE = Script.read("settle", "held", "life")
SWEEP = Script.read("sweep", "held", "entry", "pulse")
TAKE = Script.read("take", "held", "entry")
TRAIT = Script.read("trait")
UNBIND = Script.read("unbind")
USE = Script.read("use")
