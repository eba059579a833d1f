"""Records of webhook deliveries: their order within a job, and its history entries."""

from avtomatika.core.job import HistoryEntry
from avtomatika.core.plan import WEBHOOKS
from avtomatika.schemas.wire import WebhookMessage
from avtomatika.transport import RedisClient, Router
from avtomatika.transport.scripts import Argument, Call

from .entries import dump_entry
from .keyring import Keyring
from .messages import webhook_message
from .scripts import APPEND_HISTORY, SETTLE_WEBHOOK, WEBHOOK_TURN, server_errors
from .server_part import ServerClock, ServerPart


class WebhookRecords(ServerPart):
    """*router* is that of the consumer that holds the deliveries.

    Without a *keyring* the group's secret is the one that the server stores.
    """

    def __init__(self, server: RedisClient, router: Router, *, keyring: Keyring | None = None) -> None:
        super().__init__(server)
        self.clock = ServerClock(server)
        self.keyring = keyring or Keyring(server)
        self._router = router

    def is_its_turn(self, tag: str, webhook: WebhookMessage) -> bool:
        """Return True if all earlier webhooks of its job are settled. If not, park it: acknowledge it, and send it
        again once they are."""
        if webhook.number == 1:
            return True
        stream, entry = self._router.parse_tag(tag)
        keys = self._keys.of(webhook.job_id)
        own = [keys.job(webhook.job_id), keys.webhooks(webhook.job_id), stream]
        payload = self._router.encode(webhook_message(webhook, self.keyring.secret))
        call = Call(WEBHOOK_TURN, own, [self._router.consumer_name, entry, webhook.number, payload])
        return bool(self._run(call) == b"TURN")

    def settled(self, tag: str, webhook: WebhookMessage, entry: HistoryEntry) -> None:
        """Record the outcome (delivered or failed) as *entry*, and acknowledge the webhook."""
        stream, place = self._router.parse_tag(tag)
        job_id, keys = webhook.job_id, self._keys.of(webhook.job_id)
        router = self._router.of(keys.prefix)
        with server_errors():
            [queue] = router.route(WEBHOOKS, WEBHOOKS).queues
            next_stream = router.stream(queue, 0)
        own = [keys.job(job_id), keys.history(job_id), keys.webhooks(job_id)]
        args: list[Argument] = [router.consumer_name, place, webhook.number, dump_entry(entry)]
        self._run(Call(SETTLE_WEBHOOK, [*own, stream, next_stream], args))

    def append(self, job_id: str, entry: HistoryEntry) -> None:
        """Append *entry* to the history of a job, if the job exists."""
        keys = self._keys.of(job_id)
        self._run(Call(APPEND_HISTORY, [keys.job(job_id), keys.history(job_id)], [dump_entry(entry)]))
