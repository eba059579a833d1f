"""Tasks from a web address, validated, since the server may send anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.addresses import Address
from avtomatika.errors import UnavailableError
from avtomatika.schemas import wire


@dataclass(frozen=True, slots=True)
class HttpTask:
    """A task, and how often it was delivered, this delivery included."""

    task: wire.TaskMessage
    deliveries: int


def parse_task(answer: Mapping[str, Any], address: Address) -> HttpTask:
    """Parse the task in *answer*. Raises UnavailableError if it is invalid. The gateway knows where its result goes."""
    job_id, task_id, task_type = (answer.get(name) for name in ("job_id", "task_id", "type"))
    params, attempt, outcomes = answer.get("params"), answer.get("attempt", 1), answer.get("outcomes", [])
    client, deliveries = answer.get("client"), answer.get("deliveries", 1)
    if not (
        all(isinstance(text, str) and text for text in (job_id, task_id, task_type))
        and isinstance(params, dict)
        and type(attempt) is int
        and isinstance(outcomes, list)
        and type(deliveries) is int
        and (client is None or isinstance(client, str))
    ):
        raise UnavailableError(f"{address} replied with an invalid task: {sorted(answer)}", retry_after_seconds=0)
    task = wire.TaskMessage(
        job_id=str(job_id),
        task_id=str(task_id),
        attempt=attempt,
        task_type=str(task_type),
        params=params,
        outcomes=tuple(map(str, outcomes)),
        reply_exchange="",
        reply_prefix="",
        client=client,
    )
    return HttpTask(task, deliveries)
