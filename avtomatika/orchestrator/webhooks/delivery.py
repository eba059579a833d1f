"""Delivers webhooks: a loop of its own with a connection of its own, so that no receiver ever holds up a job.

A webhook that waits, for its receiver or for its next attempt, waits on the server as a delayed message: nothing is
held here, and nothing is lost with us.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Failures
from avtomatika.core.job import HistoryEntry, Json
from avtomatika.errors import UnavailableError
from avtomatika.orchestrator.handler_runner import HandlerCall, HandlerResult, HandlerRunner
from avtomatika.orchestrator.inbox import Inbox
from avtomatika.schemas.webhooks import body_of, headers_of
from avtomatika.schemas.wire import InvalidMessageError, WebhookMessage, load_webhook
from avtomatika.store import WebhookRecords
from avtomatika.store.messages import webhook_message

from .circuit_breaker import CircuitBreakers, is_too_late, next_attempt_in
from .http_post import DeliveryError, Target, WebhookClient

logger = logging.getLogger(__name__)

#: How long to wait for messages: with nothing to do, and while requests are out.
_IDLE_SECONDS, _BUSY_SECONDS = 0.5, 0.02
#: How long requests that are out may take to end when all of this is to end.
_LAST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Sending:
    """A webhook that is being sent, and the delivery that holds it."""

    delivery: Delivery
    webhook: WebhookMessage
    target: Target
    at_seconds: int


class Webhooks:
    """Delivers what comes by *intake*, signed with *secret* where there is one."""

    def __init__(self, *, intake: Consumer, records: WebhookRecords, poster: WebhookClient, secret: str | None) -> None:
        self._intake = intake
        self._records = records
        self._poster = poster
        self._secret = secret
        self._receivers = CircuitBreakers()
        self._runner = HandlerRunner(timeout_seconds=2 * poster.timeout_seconds)
        self._inbox = Inbox(intake)
        self._ended: deque[HandlerResult] = deque()
        self._warned = False
        self._stopping = False

    def stop(self) -> None:
        """Take nothing new, and return from :meth:`run` soon."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; while the server is away, wait for it."""
        failures = Failures(logger, "webhooks wait")
        while not self._stopping:
            try:
                self.turn()
                failures.over()
            except Exception as error:  # whatever it is: nobody else sends these
                self._intake.wait(failures.met(error))
        self._finish()

    def turn(self) -> None:
        """One round: take what came, send what may be sent, write down what became of it."""
        if not self._inbox:
            self._inbox.add(self._intake.take(_BUSY_SECONDS if self._runner.busy else _IDLE_SECONDS))
        for delivery in self._inbox.deliveries:
            self._inbox.handle(self._begin, [delivery])
        self._collect(0)

    # ------------------------------------------------------------ out

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        [delivery] = deliveries
        try:
            webhook = load_webhook(delivery.body, self._records.keyring.secret)
        except InvalidMessageError as error:
            logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
            self._intake.dead_letter(delivery, reason=str(error))
            return
        if not self._records.is_its_turn(delivery.tag, webhook):
            self._intake.release([delivery.tag])
        elif is_too_late(webhook, now_ms=self._records.clock.now_ms()):
            self._settle(delivery, webhook, _given_up(webhook, "it could not be told within a day"))
        else:
            self._send(delivery, webhook)

    def _send(self, delivery: Delivery, webhook: WebhookMessage) -> None:
        try:
            target = Target.of(webhook.url)
        except DeliveryError as error:
            self._settle(delivery, webhook, _given_up(webhook, str(error)))
            return
        wait_seconds = self._receivers.begin(target.origin, webhook, now=monotonic())
        if wait_seconds is not None:
            self._again(delivery, webhook.postponed_once_more(), wait_seconds)
            return
        if self._secret is None and not self._warned:
            logger.warning("WEBHOOK_SECRET is not set: webhooks are sent without a signature")
            self._warned = True
        sending = _Sending(delivery, webhook, target, self._records.clock.now_ms() // 1000)
        self._runner.submit([HandlerCall(sending, lambda: self._post(sending), is_async=True)])

    async def _post(self, sending: _Sending) -> int:
        body = body_of(sending.webhook)
        headers = headers_of(sending.webhook, body, now_seconds=sending.at_seconds, secret=self._secret)
        return await self._poster.post(sending.target, headers, body)

    # ------------------------------------------------------------ what became of it

    def _collect(self, wait_seconds: float) -> None:
        for outcome in self._runner.collect(wait_seconds):
            was_away = isinstance(outcome.raised, DeliveryError) and outcome.raised.is_away
            self._receivers.ended(outcome.owner.target.origin, was_away=was_away, now=monotonic())
            self._ended.append(outcome)
        while self._ended:  # what the server's absence interrupts stays in it
            try:
                self._conclude(self._ended[0])
            except UnavailableError:
                raise
            except Exception as error:
                self._inbox.dead_letter([self._ended[0].owner.delivery], error)
            self._ended.popleft()

    def _conclude(self, outcome: HandlerResult) -> None:
        delivery, webhook = outcome.owner.delivery, outcome.owner.webhook
        if outcome.raised is None:
            data = {**_told(webhook), "status": outcome.returned}
            self._settle(delivery, webhook, HistoryEntry("webhook_sent", data=data))
            return
        reason = _reason(outcome.raised)
        is_final = isinstance(outcome.raised, DeliveryError) and outcome.raised.is_final
        delay_seconds = None if is_final else next_attempt_in(webhook, now_ms=self._records.clock.now_ms())
        if delay_seconds is None:
            self._settle(delivery, webhook, _given_up(webhook, reason))
            return
        if self._again(delivery, webhook.next_attempt(), delay_seconds):
            data = {**_told(webhook), "reason": reason, "next_attempt_in_seconds": round(delay_seconds, 1)}
            self._records.append(webhook.job_id, HistoryEntry("webhook_failed", data=data))

    def _again(self, delivery: Delivery, webhook: WebhookMessage, delay_seconds: float) -> bool:
        """Have *webhook* come again later; False where somebody else has it."""
        again = webhook_message(webhook, self._records.keyring.secret, delay_seconds=delay_seconds)
        [done] = self._intake.settle_many([([again], [delivery.tag])])
        return done

    def _settle(self, delivery: Delivery, webhook: WebhookMessage, entry: HistoryEntry) -> None:
        logger.info("job %s: %s %s, attempt %d", webhook.job_id, entry.event_type, webhook.event, webhook.attempt)
        self._records.settled(delivery.tag, webhook, entry)
        self._intake.release([delivery.tag])

    def _finish(self) -> None:
        """Write down what ends within a moment; the rest comes again."""
        deadline = monotonic() + _LAST_SECONDS
        try:
            self._intake.return_unstarted(self._inbox.deliveries)
            while self._runner.busy and monotonic() < deadline:
                self._collect(_IDLE_SECONDS)
            self._collect(0)
        except UnavailableError as error:
            logger.warning("%s; what is on its way is sent again later", error)
        self._runner.close()
        self._poster.close()


def _told(webhook: WebhookMessage) -> dict[str, Json]:
    return {"event": webhook.event, "url": _shown(webhook.url), "attempt": webhook.attempt}


def _given_up(webhook: WebhookMessage, reason: str) -> HistoryEntry:
    return HistoryEntry("webhook_failed", data={**_told(webhook), "reason": reason, "given_up": True})


def _shown(url: str) -> str:
    """*url* without its query, where secrets may stand."""
    return url.partition("?")[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, DeliveryError):
        return str(error)
    logger.error("a webhook could not be sent", exc_info=error)
    return f"it could not be sent: {type(error).__name__}"
