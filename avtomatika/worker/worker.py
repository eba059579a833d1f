"""Worker: what a user writes. A worker is its skills; everything else comes from the environment when it runs."""

from __future__ import annotations

from collections.abc import Mapping

from avtomatika.core.job import Json

from .resources import checked_costs, checked_resources
from .skillset import SkillSet


class Worker(SkillSet):
    """Skills that are offered together; *worker_type* is a word for people.

    *resources* are what tasks may require (``{"ram_gb": 32, "devices": [{"type": "gpu", "memory_gb": 24}]}``), *costs*
    what one task of a skill costs (``{"encode": 0.5}``); ``WORKER_RESOURCES`` and ``WORKER_COSTS`` go before them.

    >>> worker = Worker(worker_type="video")
    >>> @worker.skill()
    ... async def encode(params: dict): return {"output": params["input"] + ".mp4"}
    >>> list(worker.skills)
    ['encode']
    """

    def __init__(
        self,
        worker_type: str | None = None,
        *,
        resources: Mapping[str, Json] | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.worker_type = worker_type
        self.resources = checked_resources(resources or {})
        self.costs = checked_costs(costs or {})

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, as the environment says; ``avtomatika worker`` does the same from a shell."""
        from .run import run_script

        run_script(self)
