"""Signatures: who wrote a message, and who was given a task.

What is signed are the bytes of a JSON object as they travel; the signature becomes its last member. Nobody has to write
the object anew to check it, and nothing can be put behind the signature. Secrets are in no repr.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

#: Hex digits of a signature: 128 bits, which nobody guesses.
SIGNATURE_LENGTH = 32
_BLOCK_BYTES = 64
#: What a secret of webhooks begins with whose rest is base64, as the libraries of receivers expect it.
_BASE64_FOLLOWS = "whsec_"


class Signer(Protocol):
    """Whoever can sign: the group, or one worker."""

    def signed(self, text: bytes) -> bytes:
        """The JSON object *text* with the signature as its last member."""


class GroupSecret:
    """What orchestrators and web processes of one group share; *previous* is the secret that is on its way out.

    It signs with the one and takes what either has signed.

    >>> secret = GroupSecret("a long and random text")
    >>> secret.is_signed(secret.signed(b'{"kind":"start"}'))
    True
    >>> secret.is_signed(b'{"kind":"start"}')
    False
    """

    __slots__ = ("_seals",)

    def __init__(self, secret_key: str, previous: str | None = None) -> None:
        keys = [secret_key] if previous is None else [secret_key, previous]
        self._seals = [_Seal(b"origin_sig", _derive(key.encode(), b"avt group")) for key in keys]

    @property
    def fingerprint(self) -> str:
        """Tells two secrets apart, and nothing else of them."""
        return self._seals[0].digest(b"fingerprint")[:16]

    def signed(self, text: bytes) -> bytes:
        return self._seals[0].signed(text)

    def is_signed(self, text: bytes) -> bool:
        """Whether one of the group has written *text*."""
        return any(seal.is_signed(text) for seal in self._seals)

    def sealed(self, purpose: str, text: bytes) -> str:
        """*text*, which anybody may read, for people and browsers to carry; it is good for *purpose* alone.

        >>> secret = GroupSecret("a long and random text")
        >>> secret.unsealed("link", secret.sealed("link", b"this way"))
        b'this way'
        >>> secret.unsealed("session", secret.sealed("link", b"this way")) is None
        True
        """
        payload = urlsafe_b64encode(text).rstrip(b"=").decode()
        return f"{payload}.{self._seals[0].digest(_sealed(purpose, payload))}"

    def unsealed(self, purpose: str, sealed: str) -> bytes | None:
        """What one of the group has sealed for *purpose*; None for everything else."""
        payload, _, mac = sealed.partition(".")
        if not sealed.isascii():
            return None
        text = _sealed(purpose, payload)
        if not any(compare_digest(mac, seal.digest(text)) for seal in self._seals):
            return None
        return urlsafe_b64decode(payload + "=" * (-len(payload) % 4))

    def ticket(self, task_id: str, attempt: int) -> str:
        """What only those know who were given this attempt of the task."""
        return self._seals[0].digest(_errand(task_id, attempt))

    def is_ticket(self, ticket: object, task_id: str, attempt: int) -> bool:
        if not isinstance(ticket, str) or not ticket.isascii():
            return False
        errand = _errand(task_id, attempt)
        return any(compare_digest(ticket, seal.digest(errand)) for seal in self._seals)


class WorkerKey:
    """By which one worker signs what it sends through a broker. Of its token, or as workers.toml has it."""

    __slots__ = ("_seal",)

    def __init__(self, mac_key: str) -> None:
        """*mac_key* as :func:`mac_key_of` makes it."""
        self._seal = _Seal(b"sig", bytes.fromhex(mac_key))

    def signed(self, text: bytes) -> bytes:
        return self._seal.signed(text)

    def is_signed(self, text: bytes) -> bool:
        return self._seal.is_signed(text)


def webhook_key(secret: str) -> bytes:
    """The bytes that webhooks are signed with. Raises ValueError for a *secret* that says it is base64 and is not.

    >>> webhook_key("whsec_aGVsbG8="), webhook_key("hello")
    (b'hello', b'hello')
    """
    if not secret.startswith(_BASE64_FOLLOWS):
        return secret.encode()
    return b64decode(secret.removeprefix(_BASE64_FOLLOWS), validate=True)


def mac_key_of(token: str) -> str:
    """64 hex digits: HKDF-SHA256 (RFC 5869) of *token* for ``avt mac``. It signs; the token cannot be had from it.

    >>> mac_key_of("token")[:8]
    '733c066f'
    """
    return _derive(token.encode(), b"avt mac").hex()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    """HKDF without salt, 32 bytes."""
    return _Mac(_Mac(bytes(32)).digest(secret)).digest(purpose + b"\x01")


def _errand(task_id: str, attempt: int) -> bytes:
    """Unlike any message, which begins with a brace."""
    return f"ticket|{task_id}|{attempt}".encode()


def _sealed(purpose: str, payload: str) -> bytes:
    """Unlike any message, and unlike any errand."""
    return f"sealed|{purpose}|{payload}".encode()


class _Mac:
    """HMAC-SHA256. The two halves that depend on the key alone are computed once: a digest takes 0.8 us, not 1.8."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK_BYTES:
            key = sha256(key).digest()
        padded = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(self, text: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


class _Seal:
    """Signs as *member* with *key*."""

    __slots__ = ("_head", "_length", "_mac")

    def __init__(self, member: bytes, key: bytes) -> None:
        self._mac = _Mac(key)
        self._head = b',"' + member + b'":"'
        self._length = len(self._head) + SIGNATURE_LENGTH + len(b'"}')

    def digest(self, text: bytes) -> str:
        return self._mac.digest(text).hex()[:SIGNATURE_LENGTH]

    def signed(self, text: bytes) -> bytes:
        return b'%b%b%b"}' % (text[:-1], self._head, self.digest(text).encode())

    def is_signed(self, text: bytes) -> bool:
        unsigned = text[: -self._length] + b"}"
        return compare_digest(text, self.signed(unsigned))
