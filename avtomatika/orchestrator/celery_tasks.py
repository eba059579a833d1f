"""Tasks that stock Celery workers do: published as Celery's messages, whose results arrive in a queue of replies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson

from avtomatika.broker import Consumer, Delivery, Outgoing, read_tasks
from avtomatika.broker.worker_messages import dead_letter_headers, result_message, task_started
from avtomatika.core.events import Result
from avtomatika.core.job import job_of
from avtomatika.core.plan import CELERY, REPLIES, STEPS
from avtomatika.errors import NoRouteError, TransientError
from avtomatika.schemas import wire
from avtomatika.store import Store

from .authentication import task_types

#: Statuses of results by Celery's states; any other state is not the end of a task.
_STATUSES = {"SUCCESS": "success", "FAILURE": "failure", "REVOKED": "cancelled"}
_NO_CANVAS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class CeleryTasks:
    """Sends the tasks that *consumer* delivers to Celery workers. *tasks* maps skills to (task, queue) of Celery.

    Celery's queues are at home: a task from another shard is published there before its delivery is acknowledged.
    """

    def __init__(self, tasks: Mapping[str, tuple[str, str]], *, consumer: Consumer, store: Store) -> None:
        self._tasks = tasks
        self._consumer = consumer
        self._store = store

    def dispatch(self, deliveries: Sequence[Delivery]) -> None:
        """Publish tasks to Celery's queues, and acknowledge them."""
        secret, pairs, home = self._store.keyring.secret, [], self._consumer.shard_of("")
        tasks, others = read_tasks(self._consumer, deliveries, signer=secret)
        for handle in others:
            handle()
        for delivery, task in tasks:
            if not secret.is_ticket(task.ticket, task.task_id, task.attempt):
                self._consumer.dead_letter(delivery, reason="forged", error="it has no ticket", notify=False)
                continue
            notice = task_started(task, CELERY, signer=secret)
            message = _message(task, delivery, *self._tasks[delivery.queue])
            pairs.append(([replace(message, shard=home), notice], [delivery.tag]))
        try:
            self._consumer.settle_many(pairs)
        except NoRouteError:  # no Celery worker has declared its queue
            self._consumer.declare_queues([REPLIES, *(queue for _, queue in self._tasks.values())])
            self._consumer.settle_many(pairs)

    def results(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Outgoing]]:
        """Return the results of tasks that Celery workers have ended, as messages to their jobs."""
        secret, found = self._store.keyring.secret, []
        for delivery in deliveries:
            try:
                task, state, value = _read(delivery)
            except (ValueError, LookupError, AttributeError, TypeError) as error:
                self._consumer.dead_letter(delivery, reason="malformed", error=repr(error))
                continue
            if secret.is_ticket(task.ticket, task.task_id, task.attempt):
                found.append((delivery, task, state, value))
            else:
                self._consumer.dead_letter(delivery, reason="forged", error="it has no ticket")
        types = task_types([(task.job_id, task.task_id) for _, task, _, _ in found], store=self._store)
        sent = []
        for delivery, task, state, value in found:
            # Results of other skills need the signature of their worker.
            if state in _STATUSES and types.get((task.job_id, task.task_id)) in self._tasks:
                result, headers = _result(task, _STATUSES[state], value), dead_letter_headers(task, secret)
                shard = self._consumer.shard_of(task.job_id)
                sent.append((delivery, result_message(task, result, headers=headers, signer=secret, shard=shard)))
            else:
                self._consumer.ack([delivery.tag])
        return sent


def _message(task: wire.TaskMessage, delivery: Delivery, name: str, queue: str) -> Outgoing:
    """Return *task* in Celery's protocol 2. The id of its reply says where the result goes, and proves it."""
    task_id = f"{task.task_id}/{task.attempt}"
    headers = {"lang": "py", "task": name, "id": task_id, "root_id": task_id, "parent_id": None, "group": None}
    trace = task.tracing_context or {}
    limits = {"timelimit": [task.result_timeout_seconds, None], "retries": 0, "eta": None, "expires": None}
    return Outgoing(
        "",
        queue,
        orjson.dumps([[], task.params, _NO_CANVAS]).decode(),
        priority=delivery.properties.get("priority") or 0,
        headers={**delivery.headers, **trace, **headers, **limits, "argsrepr": "()", "kwargsrepr": "{...}"},
        properties={"reply_to": REPLIES, "correlation_id": f"{task.reply_prefix} {task.ticket}"},
    )


def _read(delivery: Delivery) -> tuple[wire.TaskMessage, str, object]:
    """Return the task of a reply, its state and its result."""
    reply = orjson.loads(delivery.body)
    prefix, ticket = delivery.properties["correlation_id"].split(" ")
    task_id, attempt = reply["task_id"].split("/")
    task = wire.TaskMessage(job_of(task_id), task_id, int(attempt), "", {}, (), STEPS, prefix, ticket=ticket)
    return task, reply["status"], reply["result"]


def _result(task: wire.TaskMessage, status: str, value: object) -> Result:
    """Return the result. Exceptions are transient errors, as those of skills are."""
    data = value if isinstance(value, dict) else {"result": value}
    error = {"code": TransientError.code, "message": f"{data.get('exc_type')}: {data.get('exc_message')}"}
    if status == "success":
        return Result(task.job_id, task.task_id, task.attempt, status, data, worker_id=CELERY)
    return Result(task.job_id, task.task_id, task.attempt, status, error=error, worker_id=CELERY)
