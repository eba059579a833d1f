"""Webhook delivery, in its own loop with its own connection, so that a receiver never delays a job.

A webhook that waits for its receiver or its next attempt is a delayed message on the server: nothing is lost with this
process.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.core.file_reference import references_in
from avtomatika.core.job import HistoryEntry, Json
from avtomatika.errors import UnavailableError
from avtomatika.files.job_values import JobValues
from avtomatika.orchestrator.handler_runner import HandlerCall, HandlerResult, HandlerRunner
from avtomatika.orchestrator.inbox import Inbox
from avtomatika.schemas.webhooks import body_of, headers_of
from avtomatika.schemas.wire import InvalidMessageError, WebhookMessage, load_webhook
from avtomatika.store import WebhookRecords
from avtomatika.store.messages import webhook_message

from .circuit_breaker import CircuitBreakers, is_expired, next_attempt_in
from .http_post import DeliveryError, Target, WebhookClient

logger = logging.getLogger(__name__)

#: Wait for messages: when idle, and while requests are in flight.
_IDLE_SECONDS, _BUSY_SECONDS = 0.5, 0.02
#: Time limit for requests in flight at shutdown.
_SHUTDOWN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Request:
    """A webhook in flight and its delivery."""

    delivery: Delivery
    webhook: WebhookMessage
    target: Target
    at_seconds: int


class Webhooks:
    """Delivers the webhooks of *consumer*, signed with *secret* if there is one."""

    def __init__(
        self,
        *,
        consumer: Consumer,
        records: WebhookRecords,
        client: WebhookClient,
        secret: str | None,
        notify_url: str | None = None,
        values: JobValues | None = None,
    ) -> None:
        """*notify_url* is the receiver of operators. *values* signs links to large results."""
        self._consumer = consumer
        self._records = records
        self._client = client
        self._secret = secret
        self._notify_url = notify_url
        self._values = values
        self._breakers = CircuitBreakers()
        self._runner = HandlerRunner(timeout_seconds=2 * client.timeout_seconds)
        self._inbox = Inbox(consumer)
        self._results: deque[HandlerResult] = deque()
        self._warned = False
        self._stopping = False

    def stop(self) -> None:
        """Consume nothing new; :meth:`run` returns soon."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; wait while the server is unavailable."""
        Backoff(logger, "webhooks wait").run(self.run_once, until=lambda: self._stopping, wait=self._consumer.wait)
        self._shut_down()

    def run_once(self) -> None:
        """Consume new webhooks, send those whose receiver is free, record results."""
        if not self._inbox:
            self._inbox.add(self._consumer.take(_BUSY_SECONDS if self._runner.busy else _IDLE_SECONDS))
        for delivery in self._inbox.deliveries:
            self._inbox.handle(self._start, [delivery])
        self._collect(0)

    # ------------------------------------------------------------ send

    def _start(self, deliveries: Sequence[Delivery]) -> None:
        [delivery] = deliveries
        try:
            webhook = load_webhook(delivery.body, self._records.keyring.secret)
        except InvalidMessageError as error:
            logger.error("queue %s: %s; dead-lettered", delivery.queue, error)
            self._consumer.dead_letter(delivery, reason=str(error))
            return
        if not webhook.is_for_operators and not self._records.is_its_turn(delivery.tag, webhook):
            self._consumer.release([delivery.tag])
        elif is_expired(webhook, now_ms=self._records.clock.now_ms()):
            self._settle(delivery, webhook, _abandoned_entry(webhook, "not delivered within a day"))
        else:
            self._send(delivery, webhook)

    def _send(self, delivery: Delivery, webhook: WebhookMessage) -> None:
        try:
            is_trusted = webhook.is_for_operators
            target = Target.of(self._notify_url or "" if is_trusted else webhook.url, is_trusted=is_trusted)
        except DeliveryError as error:
            self._settle(delivery, webhook, _abandoned_entry(webhook, str(error)))
            return
        wait_seconds = self._breakers.acquire(target.origin, webhook, now=monotonic())
        if wait_seconds is not None:
            self._reschedule(delivery, webhook.postpone(), wait_seconds)
            return
        if self._secret is None and not self._warned:
            logger.warning("WEBHOOK_SECRET is not set: webhooks are not signed")
            self._warned = True
        request = _Request(delivery, webhook, target, self._records.clock.now_ms() // 1000)
        self._runner.submit([HandlerCall(request, lambda: self._post(request), is_async=True)])

    async def _post(self, request: _Request) -> int:
        body = body_of(request.webhook, await self._links(request.webhook))
        headers = headers_of(request.webhook, body, now_seconds=request.at_seconds, secret=self._secret)
        return await self._client.post(request.target, headers, body)

    async def _links(self, webhook: WebhookMessage) -> Mapping[str, str]:
        """Return signed URLs for the large values of the result, by URI."""
        references = list(references_in(webhook.job.get("result")))
        if self._values is None or not references:
            return {}
        return await asyncio.to_thread(self._values.links, webhook.job_id, references)

    # ------------------------------------------------------------ results

    def _collect(self, wait_seconds: float) -> None:
        for result in self._runner.collect(wait_seconds):
            is_unreachable = isinstance(result.raised, DeliveryError) and result.raised.is_unreachable
            self._breakers.release(result.owner.target.origin, is_unreachable=is_unreachable, now=monotonic())
            self._results.append(result)
        while self._results:  # a result stays queued while the server is unavailable
            try:
                self._record_result(self._results[0])
            except UnavailableError:
                raise
            except Exception as error:
                self._inbox.dead_letter([self._results[0].owner.delivery], error)
            self._results.popleft()

    def _record_result(self, result: HandlerResult) -> None:
        delivery, webhook = result.owner.delivery, result.owner.webhook
        if result.raised is None:
            data = {**_attempt_data(webhook), "status": result.returned}
            self._settle(delivery, webhook, HistoryEntry("webhook_sent", data=data))
            return
        reason = _reason(result.raised)
        is_permanent = isinstance(result.raised, DeliveryError) and result.raised.is_permanent
        delay_seconds = None if is_permanent else next_attempt_in(webhook, now_ms=self._records.clock.now_ms())
        if delay_seconds is None:
            self._settle(delivery, webhook, _abandoned_entry(webhook, reason))
            return
        if self._reschedule(delivery, webhook.next_attempt(), delay_seconds):
            data = {**_attempt_data(webhook), "reason": reason, "next_attempt_in_seconds": round(delay_seconds, 1)}
            self._records.append(webhook.job_id, HistoryEntry("webhook_failed", data=data))

    def _reschedule(self, delivery: Delivery, webhook: WebhookMessage, delay_seconds: float) -> bool:
        """Republish *webhook* with a delay; False if another process holds it."""
        again = webhook_message(webhook, self._records.keyring.secret, delay_seconds=delay_seconds)
        [is_settled] = self._consumer.settle_many([([again], [delivery.tag])])
        return is_settled

    def _settle(self, delivery: Delivery, webhook: WebhookMessage, entry: HistoryEntry) -> None:
        logger.info("job %s: %s %s, attempt %d", webhook.job_id, entry.event_type, webhook.event, webhook.attempt)
        if webhook.is_for_operators:
            self._consumer.settle_many([([], [delivery.tag])])
            self._records.append(webhook.job_id, entry)
            return
        self._records.settled(delivery.tag, webhook, entry)
        self._consumer.release([delivery.tag])

    def _shut_down(self) -> None:
        """Record requests that end within a moment; all others are delivered again."""
        deadline = monotonic() + _SHUTDOWN_SECONDS
        try:
            self._consumer.return_unstarted(self._inbox.deliveries)
            while self._runner.busy and monotonic() < deadline:
                self._collect(_IDLE_SECONDS)
            self._collect(0)
        except UnavailableError as error:
            logger.warning("%s; webhooks in flight are sent again later", error)
        self._runner.close()
        self._client.close()


def _attempt_data(webhook: WebhookMessage) -> dict[str, Json]:
    address = webhook.url.partition("?")[0] or "NOTIFY_WEBHOOK_URL"  # a query or that URL may contain secrets
    return {"event": webhook.event, "url": address, "attempt": webhook.attempt}


def _abandoned_entry(webhook: WebhookMessage, reason: str) -> HistoryEntry:
    return HistoryEntry("webhook_failed", data={**_attempt_data(webhook), "reason": reason, "given_up": True})


def _reason(error: BaseException) -> str:
    if isinstance(error, DeliveryError):
        return str(error)
    logger.error("cannot send a webhook", exc_info=error)
    return f"sending failed: {type(error).__name__}"
