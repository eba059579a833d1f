"""Rules that apply to every job."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .plan import Plan


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of an orchestrator for all jobs.

    *max_transitions* is the number of states that a job may enter in a row without waiting, unless its blueprint sets a
    limit; it ends runaway loops. *max_retries* is the number of retries of a task unless the handler or the blueprint
    sets it. *plans* are the blueprints that jobs may run, by name.
    """

    max_transitions: int = 100
    max_retries: int = 3
    plans: Mapping[str, Plan] = field(default_factory=dict)
