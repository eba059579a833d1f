"""The answers of the HTTP API as types: dicts with these keys. Times are RFC 3339 in UTC."""

from avtomatika.schemas.answers import *  # noqa: F403
from avtomatika.schemas.server_answers import *  # noqa: F403
