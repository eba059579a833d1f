"""The built-in blueprint of single tasks."""

from avtomatika.core.machine import single_task
from avtomatika.core.plan import Plan

from .blueprint import Blueprint


class _SingleTasks(Blueprint):
    """It has no handlers: the machine dispatches the task of a job, and ends the job with the task."""

    def __init__(self) -> None:
        super().__init__("tasks")
        self.name = single_task.NAME

    def compile(self) -> Plan:
        return single_task.PLAN


#: Every orchestrator serves it besides the blueprints of the user.
SINGLE_TASKS = _SingleTasks()
