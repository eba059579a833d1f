"""Creates tokens and hashes them: only hashes are stored."""

import re
import secrets
from hashlib import sha256

from avtomatika.core.signing import WorkerKey, mac_key_of
from avtomatika.errors import SettingsError

#: Shorter tokens can be guessed.
SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 512
#: Tokens of one section: the current one, and the next or the previous one while tokens are rotated.
_MOST_TOKENS = 2
#: Printable ASCII without spaces, which every HTTP client can send in a header.
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def new_token() -> str:
    """Return a random token of 256 bits, which cannot be guessed; so a plain hash of it is enough."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the hex SHA-256 of *token*, as in ``token_sha256``."""
    return sha256(token.encode()).hexdigest()


def checked_hash(token: object, what: str, *, shortest: int = SHORTEST_TOKEN) -> str:
    """Return the hash of *token*. Raise SettingsError, naming *what* it is, unless its form is valid."""
    if not isinstance(token, str) or not shortest <= len(token) <= _LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        length = f", but has {len(token)}" if isinstance(token, str) and _TOKEN.fullmatch(token) else ""
        raise SettingsError(
            f"{what} must be {shortest} to {_LONGEST_TOKEN} ASCII characters without spaces{length}; "
            "`avtomatika tokens new` makes one"
        )
    return hash_token(token)


def mac_keys(name: str, token: object, mac_key: object) -> tuple[WorkerKey, ...]:
    """Return the signing keys of section *name*: derived from its tokens, or given as *mac_key*."""
    if token is not None:
        if mac_key is not None:
            raise SettingsError(f"[{name}] has a token, from which its mac_key is derived: remove mac_key")
        return tuple(WorkerKey(mac_key_of(str(each))) for each in _values(name, "token", token))
    keys = () if mac_key is None else _values(name, "mac_key", mac_key)
    if not all(map(_is_sha256, keys)):
        raise SettingsError(f"mac_key of [{name}] must be 64 hex digits, in lower case")
    return tuple(WorkerKey(str(key)) for key in keys)


def section_hashes(name: str, token: object, token_sha256: object) -> tuple[str, ...]:
    """Return the token hashes of section *name*. Raise SettingsError unless it has either tokens or hashes."""
    if (token is None) == (token_sha256 is None):
        raise SettingsError(f"[{name}] needs either token or token_sha256")
    if token is not None:
        return tuple(checked_hash(each, f"the token of [{name}]") for each in _values(name, "token", token))
    hashes = _values(name, "token_sha256", token_sha256)
    if not all(map(_is_sha256, hashes)):
        raise SettingsError(f"token_sha256 of [{name}] must be 64 hex digits, in lower case")
    return tuple(map(str, hashes))


def require(is_right: bool, section: str, key: str, value: object, expected: str) -> None:
    """Raise SettingsError, naming the *value* of *key* in *section*, unless it *is_right*."""
    if not is_right:
        raise SettingsError(f"{key} of [{section}] is {value!r}, but must be {expected}")


def _values(name: str, key: str, value: object) -> tuple[object, ...]:
    """Return *value*, one or a list of two during a rotation, as a tuple."""
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= _MOST_TOKENS:
        raise SettingsError(f"{key} of [{name}] has {len(values)} values, but must have one, or two during a rotation")
    return tuple(values)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
