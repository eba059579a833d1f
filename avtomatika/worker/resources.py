"""Validation of a worker's resources and of the costs of its tasks."""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeVar

from avtomatika.core.job import Json
from avtomatika.errors import SettingsError

T = TypeVar("T")

_PLAIN = (str, int, float, bool)


def checked_resources(resources: Any) -> Mapping[str, Json]:
    """Return *resources* if all are plain values and ``devices`` is a list of objects. Raises SettingsError."""
    if not isinstance(resources, Mapping):
        raise SettingsError(f'resources are {resources!r}, but must be an object, as in {{"ram_gb": 32}}')
    for name, value in resources.items():
        if name == "devices":
            _check_devices(value)
        elif not isinstance(value, _PLAIN):
            raise SettingsError(f"resource {name!r} is {value!r}, but must be a number, a text, true or false")
    return dict(resources)


def checked_costs(costs: Any) -> Mapping[str, float]:
    """Return *costs* if all are non-negative numbers by skill. Raises SettingsError."""
    if not isinstance(costs, Mapping):
        raise SettingsError(f'costs are {costs!r}, but must be an object, as in {{"encode": 0.5}}')
    for skill, cost in costs.items():
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not isfinite(cost) or cost < 0:
            raise SettingsError(f"the cost of {skill!r} is {cost!r}, but must be a number of at least 0")
    return dict(costs)


def checked_json(check: Callable[[Any], T], text: str) -> T:
    """Parse JSON and return it checked by *check*. Raises ValueError with the reason."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    try:
        return check(value)
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _check_devices(devices: Any) -> None:
    if not isinstance(devices, list) or not all(isinstance(device, Mapping) for device in devices):
        raise SettingsError(f'devices are {devices!r}, but must be a list, as in [{{"type": "gpu", "memory_gb": 24}}]')
