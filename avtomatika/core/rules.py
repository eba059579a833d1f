"""What holds for every job, whatever its blueprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .plan import Plan


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all jobs of an orchestrator.

    *max_transitions* is how many states a job may enter in a row without waiting for a task, a time, a person or
    another job, where its blueprint does not say, so that a runaway loop comes to an end; *max_retries* is how often a
    task is tried again where neither the handler nor the job says so; *plans* are the blueprints that jobs may run, by
    name.
    """

    max_transitions: int = 100
    max_retries: int = 3
    plans: Mapping[str, Plan] = field(default_factory=dict)
