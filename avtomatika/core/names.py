"""Names of blueprints, states, outcomes and skills: what may stand in a routing key."""

from __future__ import annotations

import re

#: Letters, digits, ``_`` and ``-``; no dot, ``@`` or wildcard, so that no name can change a binding.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_name(text: object) -> bool:
    """Whether *text* may stand as a part of a routing key."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None


def is_user_name(text: object) -> bool:
    """Like :func:`is_name`, and free for users: a leading ``_`` is ours."""
    return is_name(text) and not str(text).startswith("_")
