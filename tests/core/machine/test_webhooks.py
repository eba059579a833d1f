"""Steps of the machine that send a webhook."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avtomatika import Blueprint
from avtomatika.core.blueprint.action_types import End
from avtomatika.core.events import Signal, Start
from avtomatika.core.job import Job
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import decisions, machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.moves import error, quarantine
from avtomatika.core.step import SendWebhook, Step

bp = Blueprint(name="hook")


@bp.handler(is_start=True, is_end=True)
def start() -> None: ...


def job(**fields: Any) -> Job:
    return new_job(bp.plan, JobRequest(**fields), job_id="g0-1", client="me").job


def told(step: Step) -> list[Job]:
    return [sent.job for sent in step.outgoing if isinstance(sent, SendWebhook)]


def test_an_end_tells_how_the_job_then_stands() -> None:
    begun = machine.advance(bp.plan, job(webhook_url="http://shop"), Start("g0-1"), queue=None)
    ended = begun.then(decisions.decide(bp.plan, begun.job, End(7), queue=None, patch={}))

    assert told(begun) == []
    assert told(ended) == [ended.job]
    assert (ended.job.status, ended.job.result, ended.job.webhooks) == ("finished", 7, 1)


def test_quarantine_and_the_end_after_it_are_numbered() -> None:
    resting = quarantine(replace(job(webhook_url="http://shop"), current_state="start"), error("X", "x"))
    cancelled = resting.then(machine.advance(bp.plan, resting.job, Signal("g0-1", "cancel", "me", "t"), queue=None))

    assert [(each.status, each.webhooks) for each in told(cancelled)] == [("quarantined", 1), ("cancelled", 2)]


def test_without_a_url_nobody_is_told() -> None:
    assert told(quarantine(job(), error("X", "x"))) == []
