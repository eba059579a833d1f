"""Five costly states, and a fan-out, that fail while the file ``broken`` exists. ``runs`` records each run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from avtomatika import Blueprint, PermanentError, Worker

STATES = ("probe", "cut", "encode", "publish", "announce")
worker = Worker()
video = Blueprint("video", api_endpoint="jobs/video")
parts = Blueprint("parts", api_endpoint="jobs/parts")


@video.handler(is_start=True)
def probe(actions: Any) -> None:
    actions.dispatch_task("costly", {"name": "probe"}, transitions={"success": "cut"})


@video.handler
def cut(actions: Any, probe: str) -> None:
    actions.dispatch_task("costly", {"name": "cut", "after": probe}, transitions={"success": "encode"})


@video.handler
def encode(actions: Any, cut: str, job_data: dict[str, Any], quality: str = "low") -> None:
    job_data["visits"] = job_data.get("visits", 0) + 1
    params = {"name": "encode", "after": cut, "quality": quality}
    actions.dispatch_task("costly", params, transitions={"success": "publish"})


@video.handler
def publish(actions: Any, encode: str) -> None:
    transitions = {"success": "announce", "failure": "failed"}
    actions.dispatch_task("costly", {"name": "publish", "after": encode}, transitions=transitions)


@video.handler
def announce(actions: Any, publish: str) -> None:
    actions.dispatch_task("costly", {"name": "announce", "after": publish}, transitions={"success": "done"})


@video.handler(is_end=True)
def done(job_data: dict[str, Any]) -> Any:
    return job_data


@video.handler(is_end="failed")
def failed() -> None: ...


@parts.handler(is_start=True)
def spread(actions: Any) -> None:
    tasks = [{"type": "costly", "params": {"name": name}} for name in ("one", "publish", "three")]
    actions.dispatch_parallel(tasks, aggregate_into="join", on_failure="finish_all")


@parts.aggregator
def join(aggregation_results: dict[str, Any], actions: Any) -> None:
    actions.go_to("end")


@parts.handler(is_end=True)
def end() -> str:
    return "whole"


@worker.skill()
def costly(name: str, after: str = "", quality: str = "") -> dict[str, str]:
    line = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{name}\n".encode())
    os.close(line)
    if name == "publish" and Path("broken").exists():
        raise PermanentError("the disk is full")
    return {name: f"{after}>{name}{quality and '=' + quality}"}
