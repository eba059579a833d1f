"""Worker: a set of skills with the worker's type, resources and costs. All settings come from the environment."""

from collections.abc import Mapping

from avtomatika.core.job import Json

from .resources import checked_costs, checked_resources
from .skillset import SkillSet


class Worker(SkillSet):
    """The skills of one worker; *worker_type* is a label for logs.

    Tasks may require *resources*: ``{"ram_gb": 32, "devices": [{"type": "gpu", "memory_gb": 24}]}``. *costs* maps
    skills to the cost of one task: ``{"encode": 0.5}``. ``WORKER_RESOURCES`` and ``WORKER_COSTS`` override them.

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
        """Run until SIGTERM or SIGINT, with settings from the environment; ``avtomatika worker`` does the same from a
        shell."""
        from .run import run_script

        run_script(self)
