"""Limits by client: requests in a window of time, and names of skills that have no queue yet.

All web processes count together, on the job server; without a limit nothing is counted.
"""

from dataclasses import dataclass

from flask import g

from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import RateLimitError, TooManyRequestsError
from avtomatika.store import NEW_SKILLS_SECONDS, Store
from avtomatika.tokens import ClientAccount


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """*rate_limit* applies to clients that have none of their own."""

    store: Store
    rate_limit: RateLimit | None = None
    max_new_skills: int = 1000

    def count_request(self, client: ClientAccount) -> None:
        """Count this request. Raises RateLimitError beyond the limit of *client*."""
        limit = client.rate_limit or self.rate_limit
        if limit is None:
            return
        window, into_window = divmod(self.store.clock.now_ms() // 1000, limit.seconds)
        left = limit.seconds - into_window
        count = self.store.client_limits.count_request(client.name, window, seconds=limit.seconds)
        headers = {"Limit": limit.count, "Remaining": max(0, limit.count - count), "Reset": left}
        g.rate_limit_headers = {f"RateLimit-{name}": str(value) for name, value in headers.items()}
        if count > limit.count:
            message = f"more than {limit.count} requests in {limit.seconds} seconds: wait {left} seconds"
            raise RateLimitError(message, retry_after_seconds=left)

    def check_new_skills(self, client: str, skills: tuple[str, ...]) -> None:
        """Raise TooManyRequestsError if *client* has named too many skills that have no queue."""
        if skills and not self.store.client_limits.add_skills(client, skills, most=self.max_new_skills):
            message = f"within an hour a client may name {self.max_new_skills} skills that no worker has had"
            raise TooManyRequestsError(message, retry_after_seconds=NEW_SKILLS_SECONDS)
