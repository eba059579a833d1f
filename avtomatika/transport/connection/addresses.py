"""Server URLs and the credentials in them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode


class Login(NamedTuple):
    """Credentials; empty strings by default."""

    username: str = ""
    password: str = ""


def split_login(url: str) -> tuple[str, Login]:
    """Return *url* without credentials, and the credentials: the first ones if it names several hosts.

    >>> split_login("redis://me:secret@localhost:6379/0")
    ('redis://localhost:6379/0', Login(username='me', password='secret'))
    """
    address, _, query = url.partition("?")
    scheme, mark, rest = address.partition("://")
    found = Login()
    parts = re.split("([,;])", rest)
    for index, part in enumerate(parts):
        own, inner, place = part.rpartition("://")
        authority, slash, path = place.partition("/")
        login, at, host = authority.rpartition("@")
        if at:
            username, _, password = login.partition(":")
            found = found if any(found) else Login(unquote(username), unquote(password))
        parts[index] = own + inner + host + slash + path
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = dict(pairs)
    found = Login(asked.get("username") or found.username, asked.get("password") or found.password)
    kept = urlencode([(name, value) for name, value in pairs if name not in Login._fields]) if pairs else query
    return scheme + mark + "".join(parts) + (f"?{kept}" if kept else ""), found


def with_login(url: str, username: str | None, password: Any) -> str:
    """Insert credentials before the first host of *url*; *password* may be a function that returns it."""
    secret = password() if callable(password) else password
    if not (username or secret):
        return url
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{quote(username or '', safe='')}:{quote(secret or '', safe='*')}@{rest}"
