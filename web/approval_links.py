"""Links with which a person without a token can decide one approval until they expire."""

from dataclasses import dataclass
from typing import Self

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import ExpiredError, ForbiddenError

from .sealing import seal, unseal

_PURPOSE = "approval"


@dataclass(frozen=True, slots=True)
class ApprovalLink:
    """A link to one approval, identified by *token*: it does not decide a later approval of the same job. *recipient*
    is whom it is for, if that is known."""

    token: str
    expires_ms: int
    recipient: str = ""

    @property
    def job_id(self) -> str:
        return self.token.rpartition(".")[0]

    def sealed(self, secret: GroupSecret) -> str:
        """Return the signed link for the URL."""
        return seal(secret, _PURPOSE, [self.token, self.expires_ms, self.recipient])

    @classmethod
    def opened(cls, sealed: str, secret: GroupSecret, *, now_ms: float) -> Self:
        """Verify and read a link. Raises ForbiddenError for an invalid link, ExpiredError for an expired one."""
        values = unseal(secret, _PURPOSE, sealed)
        if values is None:
            raise ForbiddenError("this link is invalid or incomplete")
        link = cls(*values)
        if now_ms >= link.expires_ms:
            raise ExpiredError("this link has expired; ask for another one")
        return link
