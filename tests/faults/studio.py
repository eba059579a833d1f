"""Five kinds of jobs, as a film studio has them: for tests of the pages, and for their pictures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from avtomatika import Blueprint, PermanentError, TransientError, Worker

worker = Worker(worker_type="studio")


@dataclass
class Film:
    """*minutes* above 240 cannot be encoded."""

    title: str
    minutes: int = 90
    quality: Literal["low", "high"] = "high"
    is_public: bool = False


film = Blueprint(name="film", api_endpoint="jobs/film", input=Film)
invoice = Blueprint(name="invoice", api_endpoint="jobs/invoice")
reminder = Blueprint(name="reminder", api_endpoint="jobs/reminder")
catalog = Blueprint(name="catalog", api_endpoint="jobs/catalog")


@film.handler(is_start=True)
def probe(initial_data: Film, actions: Any) -> None:
    params = {"title": initial_data.title, "minutes": initial_data.minutes}
    actions.dispatch_task("probe", params, transitions={"success": "encode", "failure": "failed"})


@film.handler
def encode(initial_data: Film, actions: Any) -> None:
    tasks = [
        {"task_type": "encode", "params": {"title": initial_data.title, "height": height}}
        for height in (480, 720, 1080)
    ]
    actions.dispatch_parallel(tasks=tasks, aggregate_into="review")


@film.aggregator
def review(initial_data: Film, aggregation_results: dict[str, Any], actions: Any) -> None:
    actions.await_human_approval(
        "editors",
        f"Publish {initial_data.title!r}, {len(aggregation_results)} files?",
        transitions={"approved": "publish", "rejected": "shelve"},
        timeout=3 * 24 * 3600,
    )


@film.handler
def publish(initial_data: Film, actions: Any) -> None:
    actions.dispatch_task("upload", {"title": initial_data.title}, transitions={"success": "published"})


@film.handler(is_end=True)
def published(url: str) -> dict[str, str]:
    return {"url": url}


@film.handler(is_end=True)
def shelve() -> dict[str, str]:
    return {"shelf": "B"}


@film.handler(is_end="failed")
def failed(error: dict[str, Any]) -> dict[str, Any]:
    return error


@invoice.handler(is_start=True)
def charge(initial_data: dict[str, Any], actions: Any) -> None:
    actions.dispatch_task("charge", initial_data, transitions={"success": "paid", "failure": "refused"}, max_retries=1)


@invoice.handler(is_end=True)
def paid(receipt: str) -> dict[str, str]:
    return {"receipt": receipt}


@invoice.handler(is_end="failed")
def refused(error: dict[str, Any]) -> dict[str, Any]:
    return error


@reminder.handler(is_start=True)
def wait(initial_data: dict[str, Any], actions: Any) -> None:
    actions.wait(initial_data.get("seconds", 7200), then="remind")


@reminder.handler(is_end=True)
def remind() -> str:
    return "reminded"


@catalog.handler(is_start=True)
def add_film(initial_data: dict[str, Any], actions: Any) -> None:
    actions.run_blueprint("invoice", {"amount": initial_data["amount"]}, transitions={"success": "listed"})


@catalog.handler(is_end=True)
def listed() -> str:
    return "listed"


@worker.skill("probe")
async def probe_film(params: dict[str, Any], stream: Any) -> dict[str, Any]:
    stream.log(f"reading {params['title']}")
    for stage in ("header", "audio", "video"):
        stream.write(f"{stage} of {params['title']}: ok\n")
        await asyncio.sleep(0.05)
    if params["minutes"] > 240:
        stream.log(f"{params['minutes']} minutes", level="ERROR")
        raise PermanentError(f"{params['title']} has {params['minutes']} minutes, at most 240 are supported")
    return {"codec": "h264", "streams": [{"kind": "video", "fps": 24}, {"kind": "audio", "channels": 2}]}


@worker.skill("encode")
async def encode_film(params: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(params["height"] / 3000)
    return {"file": f"{params['title']}-{params['height']}p.mp4"}


@worker.skill
async def upload(params: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.1)
    return {"url": f"https://films.example/{params['title']}"}


@worker.skill("charge")
async def charge_card(params: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    if params["amount"] > 9000:
        raise TransientError("the bank did not answer within 30 s")
    if params["amount"] < 0:
        raise ValueError(f"cannot charge {params['amount']} euros")
    return {"receipt": f"R-{params['amount']}"}


@worker.skill
async def thumbnail(path: str, width: int = 320) -> dict[str, Any]:
    await asyncio.sleep(0.02)
    return {"file": f"{path}@{width}.jpg"}
