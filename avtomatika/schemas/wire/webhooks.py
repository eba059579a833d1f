"""Webhooks on the wire: what is to be told to whom, on its way from a commit to whoever delivers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from avtomatika.core.job import Job, Json
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
    """*event* of a job is to be told to *url*; *job* is how it stood then, times in milliseconds.

    *number* counts the webhooks of the job from 1: they are delivered in that order. *attempt* is the one to be made,
    *postponed* how often it had to wait because its receiver was busy.
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
    def of(cls, job: Job, *, version: int, now_ms: int, event: str | None = None) -> WebhookMessage:
        """What is to be told of *job*, which a commit makes *version* of; *event* is its status unless it is given."""
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
        return cls(job.id, job.webhooks, str(job.webhook_url), event or f"job.{job.status}", now_ms, shown)

    @property
    def id(self) -> str:
        """The same for every attempt, and no other webhook's."""
        return f"{self.job_id}-{self.number}"

    def next_attempt(self) -> WebhookMessage:
        return replace(self, attempt=self.attempt + 1, postponed=0)

    def postponed_once_more(self) -> WebhookMessage:
        return replace(self, postponed=self.postponed + 1)


def dump_webhook(webhook: WebhookMessage, secret: GroupSecret) -> str:
    """The body of the message, signed: nobody else says what we send out."""
    return dump("webhook", {name: getattr(webhook, name) for name, _, _ in _FIELDS}, signer=secret)


def load_webhook(raw: str | bytes, secret: GroupSecret) -> WebhookMessage:
    """The webhook that *raw* holds; raises Forged where it is not by the group."""
    return WebhookMessage(**read("webhook", load_own("webhook", raw, secret), _FIELDS))
