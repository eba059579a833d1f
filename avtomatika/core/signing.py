"""Signatures: they prove who wrote a message and which worker was given a task.

The signature covers the bytes of a JSON object as they are sent, and becomes its last member: it is checked without
serializing the object again, and nothing can be appended after it. Secrets never appear in a repr.
"""

import hmac
from base64 import b64decode
from hmac import compare_digest
from typing import Protocol

#: Hex digits of a signature: 128 bits, which cannot be guessed.
SIGNATURE_LENGTH = 32
#: The prefix of a webhook secret whose rest is base64, as the libraries of receivers expect it.
_BASE64_FOLLOWS = "whsec_"


class Signer(Protocol):
    """A secret that signs messages: the group's, or one worker's."""

    def signed(self, text: bytes) -> bytes:
        """Return the JSON object *text* with the signature as its last member."""


class GroupSecret:
    """The secret that orchestrators and web processes of one group share; *previous* is the one being rotated out.

    It signs with the current secret and accepts signatures of both.

    >>> secret = GroupSecret("a long and random text")
    >>> secret.is_signed(secret.signed(b'{"kind":"start"}'))
    True
    >>> secret.is_signed(b'{"kind":"start"}')
    False
    """

    __slots__ = ("_keys", "_macs")

    def __init__(self, secret_key: str, previous: str | None = None) -> None:
        secrets = [secret_key] if previous is None else [secret_key, previous]
        self._keys = [_derive(secret.encode(), b"avt group") for secret in secrets]
        self._macs = [_MessageMac(b"origin_sig", key) for key in self._keys]

    @property
    def fingerprint(self) -> str:
        """Distinguishes two secrets and reveals nothing else about them."""
        return self._macs[0].digest(b"fingerprint")[:16]

    @property
    def keys(self) -> list[bytes]:
        """The keys derived from the secrets, oldest first, as itsdangerous takes them."""
        return self._keys[::-1]

    def signed(self, text: bytes) -> bytes:
        return self._macs[0].signed(text)

    def is_signed(self, text: bytes) -> bool:
        """Return True if a member of the group signed *text*."""
        return any(mac.is_signed(text) for mac in self._macs)

    def ticket(self, task_id: str, attempt: int) -> str:
        """Return what only the recipient of this attempt of the task knows."""
        return self._macs[0].digest(_ticket_text(task_id, attempt))

    def is_ticket(self, ticket: object, task_id: str, attempt: int) -> bool:
        if not isinstance(ticket, str) or not ticket.isascii():
            return False
        text = _ticket_text(task_id, attempt)
        return any(compare_digest(ticket, mac.digest(text)) for mac in self._macs)


def webhook_key(secret: str) -> bytes:
    """Return the key that signs webhooks. Raises ValueError if the rest of a ``whsec_`` secret is not base64.

    >>> webhook_key("whsec_aGVsbG8="), webhook_key("hello")
    (b'hello', b'hello')
    """
    if not secret.startswith(_BASE64_FOLLOWS):
        return secret.encode()
    return b64decode(secret.removeprefix(_BASE64_FOLLOWS), validate=True)


def mac_key_of(token: str) -> str:
    """Return 64 hex digits: HKDF-SHA256 (RFC 5869) of *token* for ``avt mac``. The token cannot be derived from it.

    >>> mac_key_of("token")[:8]
    '733c066f'
    """
    return _derive(token.encode(), b"avt mac").hex()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    """Derive 32 bytes by HKDF without salt."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), purpose + b"\x01", "sha256")


def _ticket_text(task_id: str, attempt: int) -> bytes:
    """Return what a ticket signs; it differs from every message, which starts with a brace."""
    return f"ticket|{task_id}|{attempt}".encode()


class _MessageMac:
    """Signs JSON objects with *key*; the signature is the member *name*."""

    __slots__ = ("_head", "_length", "_mac")

    def __init__(self, name: bytes, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod="sha256")
        self._head = b',"' + name + b'":"'
        self._length = len(self._head) + SIGNATURE_LENGTH + len(b'"}')

    def digest(self, text: bytes) -> str:
        mac = self._mac.copy()
        mac.update(text)
        return mac.hexdigest()[:SIGNATURE_LENGTH]

    def signed(self, text: bytes) -> bytes:
        return b'%b%b%b"}' % (text[:-1], self._head, self.digest(text).encode())

    def is_signed(self, text: bytes) -> bool:
        unsigned = text[: -self._length] + b"}"
        return compare_digest(text, self.signed(unsigned))


class WorkerKey(_MessageMac):
    """The key that one worker signs its broker messages with, derived from its token or read from workers.toml."""

    __slots__ = ()

    def __init__(self, mac_key: str) -> None:
        """*mac_key* is as :func:`mac_key_of` returns it."""
        super().__init__(b"sig", bytes.fromhex(mac_key))
