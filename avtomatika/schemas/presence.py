"""What is kept of a worker's own words: of its registration and of its heartbeats, by whatever link they came."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from avtomatika.core.job import Json


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
        "costs": {
            skill: cost
            for skill, cost in _object(_object(registration, "capabilities"), "cost_per_skill").items()
            if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0
        },
    }


def skill_names(record: Mapping[str, Any]) -> list[str]:
    """The names of the skills in *record*, which may be anything that a worker has said."""
    return [skill["name"] for skill in _named_skills(record)]


def within(record: Mapping[str, Any], skills: Collection[str]) -> dict[str, Json]:
    """*record* with no other skills than *skills*."""
    return {**record, "skills": [skill for skill in _named_skills(record) if skill["name"] in skills]}


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
        **({"holds": heartbeat["holds"]} if "holds" in heartbeat else {}),
    }


def _named_skills(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    said = record.get("skills")
    found = said if isinstance(said, list) else []
    return [skill for skill in found if isinstance(skill, Mapping) and isinstance(skill.get("name"), str)]


def _resources(resources: Mapping[str, Any]) -> dict[str, Json]:
    devices = resources.get("devices")
    return {
        "properties": _object(resources, "properties"),
        "devices": [_device(device) for device in devices if isinstance(device, Mapping)]
        if isinstance(devices, list)
        else [],
    }


def _device(device: Mapping[str, Any]) -> dict[str, Json]:
    """Its properties stand beside its type and model."""
    return {**_object(device, "properties"), **{name: value for name, value in device.items() if name != "properties"}}


def _object(body: Mapping[str, Any], name: str) -> dict[str, Json]:
    value = body.get(name)
    return dict(value) if isinstance(value, Mapping) else {}
