"""A worker whose skills kombu and Celery programs call, and a blueprint that no test uses."""

from __future__ import annotations

from time import sleep

from avtomatika import Blueprint, PermanentError, Worker

bp = Blueprint("unused")
worker = Worker()


@bp.handler(is_start=True, is_end=True)
def end() -> None: ...


@worker.skill
def add(x: int, y: int = 1) -> int:
    return x + y


@worker.skill
def divide(x: int, y: int) -> dict[str, float]:
    if y == 0:
        raise PermanentError("division by zero")
    return {"quotient": x / y}


@worker.skill
def rest(seconds: float) -> str:
    sleep(seconds)
    return "rested"
