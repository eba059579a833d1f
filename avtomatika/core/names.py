"""Names of blueprints, states, outcomes and skills: the parts of routing keys."""

import re

#: Letters, digits, ``_`` and ``-``; without dots, ``@`` and wildcards, no name can change a binding.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Job ids; anything else could name another key of the server.
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: Prefix of the ids of revoked workers among the names of workers.toml; no name has it.
REVOKED = "!"
#: Maximum number of labels of a job.
MOST_LABELS = 32


def key_prefix(group: str) -> str:
    """Return the prefix of all keys of a group. Its hash tag puts them in one slot of a cluster.

    >>> key_prefix("g0")
    '{avt.g0}:'
    """
    return f"{{avt.{group}}}:"


def group_name(text: str) -> str:
    """Return *text* if it is the name of a group; raises ValueError."""
    if not is_name(text):
        raise ValueError("must be 1 to 64 letters, digits, '_' or '-'")
    return text


def is_name(text: object) -> bool:
    """Return True if *text* can be part of a routing key."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def is_label(name: object, text: object) -> bool:
    """Return True if a job can have the label *name* = *text*."""
    return is_name(name) and isinstance(text, str) and 1 <= len(text) <= 128 and text.isprintable()


def is_user_name(text: object) -> bool:
    """Like :func:`is_name`, but without a leading ``_``, which is reserved."""
    return is_name(text) and not str(text).startswith("_")
