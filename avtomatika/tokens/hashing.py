"""Tokens and what is kept of them: never more than a hash."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.errors import SettingsError

#: Printable ASCII without spaces: what every HTTP client can send in a header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def new_token() -> str:
    """A token that nobody can guess: 256 bits. That is why a plain hash of it is enough."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What may be kept of *token*: the hex SHA-256, as ``token_sha256`` takes it."""
    return sha256(token.encode()).hexdigest()


def checked_hash(token: object, what: str) -> str:
    """The hash of *token*; raises SettingsError, saying *what* it is, where no header could carry it."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise SettingsError(f"{what} must be 1 to 512 ASCII characters without spaces")
    return hash_token(token)


def checked_mac_key(name: str, token: object, mac_key: object) -> WorkerKey | None:
    """The key that the worker of section *name* signs with: its token's, or as it is; None where neither is there."""
    if isinstance(token, str):
        if mac_key is not None:
            raise SettingsError(f"[{name}] has a token: its mac_key is made of that")
        return WorkerKey(mac_key_of(token))
    if mac_key is None:
        return None
    if not isinstance(mac_key, str) or not _SHA256.fullmatch(mac_key):
        raise SettingsError(f"mac_key of [{name}] must be 64 hex digits, in lower case")
    return WorkerKey(mac_key)


def section_hash(name: str, token: object, token_sha256: object) -> str:
    """The hash that section *name* gives, by its token or as it is; raises SettingsError unless it is one of them."""
    if (token is None) == (token_sha256 is None):
        raise SettingsError(f"[{name}] needs either token or token_sha256")
    if token is not None:
        return checked_hash(token, f"the token of [{name}]")
    if not isinstance(token_sha256, str) or not _SHA256.fullmatch(token_sha256):
        raise SettingsError(f"token_sha256 of [{name}] must be 64 hex digits, in lower case")
    return token_sha256
