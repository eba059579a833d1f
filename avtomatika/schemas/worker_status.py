"""Stored registrations and heartbeats of workers, received over HTTP or the broker."""

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from avtomatika.core.job import Json

#: Maximum length of a stored reason, in characters, and maximum number of skills.
_MAX_REASON, _MOST_SKILLS = 500, 1000
#: Maximum number of running tasks that a heartbeat describes, and maximum length of their ids and skills.
MOST_TASKS, _MAX_NAME = 100, 256


def registration_record(registration: Mapping[str, Any]) -> dict[str, Json]:
    """Return the record to store for a registration over HTTP."""
    skills = [{**skill, "schema": skill.get("input_schema")} for skill in registration["supported_skills"]]
    costs = _object(registration, "capabilities").get("cost_per_skill")
    return sanitized_record({**registration, "type": registration["worker_type"], "skills": skills, "costs": costs})


def sanitized_record(said: Mapping[str, Any]) -> dict[str, Json]:
    """Sanitize a record received over the broker: any content is possible."""
    concurrency = said.get("concurrency")
    return {
        "type": _text(said, "type"),
        "version": _text(said, "version"),
        "concurrency": concurrency if _is_count(concurrency) and concurrency else None,
        "skills": [
            {"name": skill["name"], "schema": _object(skill, "schema") or {"type": "object"}}
            | {key: skill[key] for key in ("concurrency", "rate") if isinstance(skill.get(key), int | str)}
            for skill in _objects(said, "skills")
            if isinstance(skill.get("name"), str)
        ],
        "resources": _resources(_object(said, "resources")),
        "costs": _costs(_object(said, "costs")),
    }


def skill_names(record: Mapping[str, Any]) -> list[str]:
    """Return the names of the skills in *record*."""
    return [skill["name"] for skill in record["skills"]]


def restricted_to(record: Mapping[str, Any], skills: Collection[str]) -> dict[str, Json]:
    """Return *record* with only the skills in *skills*."""
    return {**record, "skills": [skill for skill in record["skills"] if skill["name"] in skills]}


def heartbeat_status(heartbeat: Mapping[str, Any]) -> dict[str, Json]:
    """Return the part of a heartbeat over HTTP to store; empty if it only says that the worker is alive."""
    named = heartbeat.get("current_tasks")
    if named is None and "status" not in heartbeat:
        return {}
    running = [{"task_id": task_id} for task_id in named or ()]
    return sanitized_status({"running": len(running), "tasks": running, **heartbeat})


def sanitized_status(said: Mapping[str, Any]) -> dict[str, Json]:
    """Sanitize a heartbeat received over the broker."""
    if not said:
        return {}
    running, switches, holds = (said.get(name) for name in ("running", "switches", "holds"))
    return {
        "status": _text(said, "status") or "idle",
        "running": running if _is_count(running) else 0,
        "standby": said.get("standby") is True,
        "links": [
            {"address": _text(link, "address"), "state": _text(link, "state")} for link in _objects(said, "links")
        ],
        "switches": switches if _is_count(switches) else 0,
        "tasks": _tasks(said),
        **_unfit(said),
        **({"holds": [each for each in holds if isinstance(each, str)]} if isinstance(holds, list) else {}),
    }


def _unfit(said: Mapping[str, Any]) -> dict[str, Json]:
    """Return why the worker cannot perform some of its skills at present, if the heartbeat says so."""
    unfit = _object(said, "unfit")
    if not unfit:
        return {}
    skills = unfit.get("skills")
    names = [name for name in skills if isinstance(name, str)] if isinstance(skills, list) else []
    return {"unfit": {"reason": _text(unfit, "reason")[:_MAX_REASON], "skills": names[:_MOST_SKILLS]}}


def _tasks(said: Mapping[str, Any]) -> list[Json]:
    """Return the running tasks; workers of the SDK tell only their ids."""
    return [
        {
            "task_id": _text(task, "task_id")[:_MAX_NAME],
            "skill": _text(task, "skill")[:_MAX_NAME] or None,
            "running_ms": running if _is_count(running := task.get("running_ms")) else None,
        }
        for task in _objects(said, "tasks")[:MOST_TASKS]
    ]


def _resources(resources: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "properties": _object(resources, "properties"),
        "devices": [_device(device) for device in _objects(resources, "devices")],
    }


def _costs(costs: Mapping[str, Any]) -> dict[str, Json]:
    return {
        skill: cost
        for skill, cost in costs.items()
        if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0
    }


def _device(device: Mapping[str, Any]) -> dict[str, Json]:
    """Merge the properties of a device with its type and model."""
    return {**_object(device, "properties"), **{name: value for name, value in device.items() if name != "properties"}}


def _object(body: Mapping[str, Any], name: str) -> dict[str, Json]:
    value = body.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _objects(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = body.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
