"""The Lua scripts. Each documents its keys and arguments in its first lines; shared parts are prepended.

A script writes everything or nothing: it reads and checks first, using ``expect`` for types of keys that it only
writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import TypeAlias

Argument: TypeAlias = str | bytes | int | float

_FOLDER = Path(__file__).parent / "lua"
_CHECKS = (_FOLDER / "expect.lua").read_text()


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    #: SHA-1 of the text, by which the server knows it. Not used for security.
    sha: str
    writes: bool = True


def load_script(name: str, *parts: str, folder: Path = _FOLDER, allow_oom: bool = True, writes: bool = True) -> Script:
    """Load *name* and the *parts* it uses from *folder*; parts may also be those of the transport.

    With *allow_oom* the script also runs on a server that is out of memory: for scripts that complete or free
    something. The server rejects any other script before it writes, and one that must not write when it does.
    """
    header = "#!lua flags=no-writes" if not writes else "#!lua flags=allow-oom" if allow_oom else "#!lua"
    files = [folder / f"{part}.lua" for part in (*parts, name)]
    sources = [(file if file.exists() else _FOLDER / file.name).read_text() for file in files]
    text = "\n".join((f"{header}\n{_CHECKS}", *sources))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest(), writes)


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
        """The command for a server that does not have the script cached."""
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


#: What scripts use that acknowledge.
_LEASE = ("slots", "lease")

ACK = load_script("ack", *_LEASE)
ADD_TRAIT = load_script("add_trait")
CHANGE_LIMIT = load_script("change_limit", "slots", "entry", "flow")
CLEAN_UP = load_script("clean_up")
DEAD_LETTER = load_script("dead_letter", *_LEASE)
DECLARE = load_script("declare", allow_oom=False)
DELETE_QUEUE = load_script("delete_queue", *_LEASE, "entry")
EXPIRED_QUEUES = load_script("expired_queues", writes=False)
LOCATE = load_script("locate", writes=False)
MOVE_DELAYED = load_script("move_delayed")
PAUSE = load_script("pause")
PLACE = load_script("place", "slots")
PUBLISH = load_script("publish", "ttl", allow_oom=False)
PUBLISH_MANY = load_script("settle", *_LEASE, "ttl", allow_oom=False)
PURGE = load_script("purge")
QUEUE_STATS = load_script("queue_stats", writes=False)
READ_FANOUT = load_script("read_fanout", "entry")
READ_LIMITS = load_script("read_limits", "slots", "flow")
RECLAIM = load_script("reclaim", *_LEASE, "entry", "heartbeat")
RENEW = load_script("renew", *_LEASE)
REQUEUE = load_script("requeue", *_LEASE, "entry")
REQUEUE_DEAD_LETTER = load_script("requeue_dead_letter", allow_oom=False)
SEND_HEARTBEAT = load_script("send_heartbeat", "heartbeat")
SETTLE = load_script("settle", *_LEASE, "ttl")
SET_LIMITS = load_script("set_limits")
TAKE = load_script("take", *_LEASE, "entry", "read")
#: The same for queues in turns.
TAKE_IN_TURNS = load_script("take", *_LEASE, "entry", "read", "flow", "waiting", "admit")
TAKE_TURNS = load_script("take_turns")
TOUCH_QUEUES = load_script("touch_queues")
UNBIND = load_script("unbind")
