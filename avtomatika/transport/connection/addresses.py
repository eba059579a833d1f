"""Server URLs, and the credentials and hosts in them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

from redis.connection import parse_url

#: How addresses of a cluster start. kombu takes what is before a ``+`` as the name of a transport.
CLUSTER_SCHEMES = ("redis+cluster:", "rediss+cluster:", "cluster:")
#: Host and port.
Address = tuple[str, int]

#: URL parameters with the credentials for the sentinels themselves -> redis-py's names.
SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}
_SECRET_OPTIONS = ("username", "password", "ssl_password")


class PrivateOptions(dict[str, Any]):
    """kombu's ``transport_options`` without the credentials for sentinels, which *hidden* has.

    kombu passes the object on to clones of a connection, and shows its items in ``Connection.info()``.
    """

    def __init__(self, options: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        """Move the credentials in *options* to *hidden*."""
        super().__init__(options)
        given = options.get("sentinel_kwargs") or {}
        self.hidden = {**hidden, **getattr(options, "hidden", {})}
        self.hidden |= {name: value for name, value in given.items() if name in _SECRET_OPTIONS}
        if given:
            self["sentinel_kwargs"] = {name: value for name, value in given.items() if name not in _SECRET_OPTIONS}

    @property
    def complete(self) -> dict[str, Any]:
        """All options."""
        return {**self, "sentinel_kwargs": {**(self.get("sentinel_kwargs") or {}), **self.hidden} or None}


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
    url = scheme + mark + "".join(parts) + (f"?{query}" if query else "")
    url, asked = split_parameters(url, Login._fields.__contains__)
    return url, Login(asked.get("username") or found.username, asked.get("password") or found.password)


def split_parameters(url: str, is_taken: Callable[[str], bool]) -> tuple[str, dict[str, str]]:
    """Return *url* without the query parameters whose names *is_taken* selects, and their values."""
    address, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    taken = {name: value for name, value in pairs if is_taken(name)}
    kept = urlencode([(name, value) for name, value in pairs if name not in taken]) if pairs else query
    return address + (f"?{kept}" if kept else ""), taken


def with_login(url: str, username: str | None, password: Any) -> str:
    """Insert credentials before the first host of *url*; *password* may be a function that returns it."""
    secret = password() if callable(password) else password
    if not (username or secret):
        return url
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{quote(username or '', safe='')}:{quote(secret or '', safe='*')}@{rest}"


def read_hosts(url: str, default_port: int) -> tuple[list[Address], dict[str, Any]]:
    """Return the addresses in a URL with several hosts, and all its other settings with redis-py's names and types.

    Hosts are separated by ``,`` or ``;`` and each may repeat the scheme, as in kombu.

    >>> read_hosts("sentinel://a;sentinel://b:2/1", 26379)
    ([('a', 26379), ('b', 2)], {'db': 1})
    """
    places, _, query = url.partition("?")
    scheme, mark, _ = places.partition("://")
    asked = dict(parse_qsl(query))
    hosts: list[Address] = []
    given: dict[str, Any] = {}
    for place in re.split("[,;]", places):
        parsed: dict[str, Any] = parse_url(f"redis://{place.removeprefix(scheme + mark)}?{urlencode(asked)}")  # type: ignore[no-untyped-call]
        hosts.append((parsed.pop("host", "localhost"), parsed.pop("port", default_port)))
        given |= parsed
    return hosts, given
