"""What is kept of a worker's own words: of its registration and of its heartbeats, by whatever link they came."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from avtomatika.core.job import Json

#: Longest reason that is kept, in characters, and most skills.
_MAX_REASON, _MOST_SKILLS = 500, 1000


def record_of(registration: Mapping[str, Any]) -> dict[str, Json]:
    """What is kept of a registration."""
    return {
        "type": registration["worker_type"],
        "version": registration["version"],
        "concurrency": registration.get("concurrency"),
        "skills": [
            {"name": skill["name"], "schema": _object(skill, "input_schema") or {"type": "object"}}
            for skill in registration["supported_skills"]
        ],
        "resources": _resources(_object(registration, "resources")),
        "costs": _costs(_object(_object(registration, "capabilities"), "cost_per_skill")),
    }


def heard_record(said: Mapping[str, Any]) -> dict[str, Json]:
    """The same of what came by the broker as one that was kept: anybody may have written it, whatever it is."""
    concurrency = said.get("concurrency")
    return {
        "type": _text(said, "type"),
        "version": _text(said, "version"),
        "concurrency": concurrency if _is_count(concurrency) and concurrency else None,
        "skills": [
            {"name": skill["name"], "schema": _object(skill, "schema") or {"type": "object"}}
            for skill in _objects(said, "skills")
            if isinstance(skill.get("name"), str)
        ],
        "resources": _resources(_object(said, "resources")),
        "costs": _costs(_object(said, "costs")),
    }


def skill_names(record: Mapping[str, Any]) -> list[str]:
    """The names of the skills in *record*."""
    return [skill["name"] for skill in record["skills"]]


def within(record: Mapping[str, Any], skills: Collection[str]) -> dict[str, Json]:
    """*record* with no other skills than *skills*."""
    return {**record, "skills": [skill for skill in record["skills"] if skill["name"] in skills]}


def beat_of(heartbeat: Mapping[str, Any]) -> dict[str, Json]:
    """What is kept of a heartbeat; empty where it says no more than that the worker is there."""
    named = heartbeat.get("current_tasks")
    if named is None and "status" not in heartbeat:
        return {}
    return {
        "status": heartbeat.get("status", "idle"),
        "running": heartbeat.get("running", len(named or ())),
        "standby": heartbeat["standby"],
        "links": heartbeat["links"],
        "switches": heartbeat["switches"],
        **_unfit(heartbeat),
        **({"holds": heartbeat["holds"]} if "holds" in heartbeat else {}),
    }


def heard_beat(said: Mapping[str, Any]) -> dict[str, Json]:
    """The same of what came by the broker as one that was kept."""
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
        **_unfit(said),
        **({"holds": [each for each in holds if isinstance(each, str)]} if isinstance(holds, list) else {}),
    }


def _unfit(said: Mapping[str, Any]) -> dict[str, Json]:
    """Why the worker cannot do some of its skills for now, if it says so."""
    unfit = _object(said, "unfit")
    if not unfit:
        return {}
    skills = unfit.get("skills")
    names = [name for name in skills if isinstance(name, str)] if isinstance(skills, list) else []
    return {"unfit": {"reason": _text(unfit, "reason")[:_MAX_REASON], "skills": names[:_MOST_SKILLS]}}


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
    """Its properties stand beside its type and model."""
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
