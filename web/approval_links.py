"""Links by which somebody without a token may answer one approval, until they expire."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import ExpiredError, ForbiddenError

_PURPOSE = "approval"


@dataclass(frozen=True, slots=True)
class ApprovalLink:
    """*token* is that of the approval: a later one of the same job is not answered by it."""

    token: str
    expires_ms: int

    @property
    def job_id(self) -> str:
        return self.token.rpartition(".")[0]

    def sealed(self, secret: GroupSecret) -> str:
        """What stands in the address."""
        return secret.sealed(_PURPOSE, orjson.dumps([self.token, self.expires_ms]))

    @classmethod
    def opened(cls, sealed: str, secret: GroupSecret, *, now_ms: float) -> ApprovalLink:
        """The link that was sealed. Raises ForbiddenError for what was not made here, ExpiredError."""
        text = secret.unsealed(_PURPOSE, sealed)
        if text is None:
            raise ForbiddenError("this link was not made here, or a part of it is missing")
        link = cls(*orjson.loads(text))
        if now_ms >= link.expires_ms:
            raise ExpiredError("this link has expired; ask for another one")
        return link
