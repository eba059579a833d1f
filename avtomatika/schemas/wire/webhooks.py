"""Webhook messages: from the commit to the process that delivers the webhook."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Job, JobStatus, Json
from avtomatika.core.machine.waits import decisions
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas.fields import attempt, count, identifier, json_object, text

from .body import dump, load_own, read

_FIELDS = (
    identifier("job_id"),
    attempt("number"),
    text("url"),
    identifier("event"),
    count("at_ms"),
    json_object("job"),
    attempt("attempt"),
    count("postponed"),
)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """An *event* to deliver to *url*; *job* is the job at that time, with times in milliseconds.

    *number* counts the webhooks of the job from 1, the order of delivery. *attempt* is the next attempt, *postponed*
    counts delays because the receiver was busy. Without a *url* it is for operators: whoever delivers it knows theirs.
    """

    job_id: str
    number: int
    url: str
    event: str
    at_ms: int
    job: Mapping[str, Json]
    attempt: int = 1
    postponed: int = 0

    @classmethod
    def of(cls, job: Job, *, version: int, now_ms: int, event: str | None = None) -> Self:
        """Return the webhook for *job*, of which a commit makes *version*; *event* defaults to its status."""
        shown = {
            "id": job.id,
            "status": job.status,
            "blueprint_name": job.blueprint,
            "current_state": job.current_state,
            "result": job.result,
            "error": job.error,
            "labels": job.labels,
            "retry_of": job.retry_of,
            "version": version,
            "created_at": job.created_ms,
            "updated_at": now_ms,
        }
        if job.status is JobStatus.WAITING_FOR_HUMAN and job.wait is not None:
            shown["waiting_for"] = {"kind": "approval", **job.wait.details, "decisions": decisions(job.wait)}
        return cls(job.id, job.webhooks, str(job.webhook_url), event or f"job.{job.status}", now_ms, shown)

    @property
    def is_for_operators(self) -> bool:
        return not self.url

    @property
    def id(self) -> str:
        """Identifies the webhook over all attempts."""
        number = f"v{self.job['version']}" if self.is_for_operators else self.number
        return f"{self.job_id}-{number}"

    def next_attempt(self) -> Self:
        return replace(self, attempt=self.attempt + 1, postponed=0)

    def postpone(self) -> Self:
        return replace(self, postponed=self.postponed + 1)


def dump_webhook(webhook: WebhookMessage, secret: GroupSecret) -> str:
    """Encode a webhook, signed by the group."""
    return dump("webhook", {name: getattr(webhook, name) for name, _, _ in _FIELDS}, signer=secret)


def load_webhook(raw: str | bytes, secret: GroupSecret) -> WebhookMessage:
    """Decode a webhook. Raises MessageAuthenticationError unless the group has signed it."""
    return WebhookMessage(**read("webhook", load_own("webhook", raw, secret), _FIELDS))
