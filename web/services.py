"""What the views of one app work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import current_app

from avtomatika.core.plan import Plan
from avtomatika.errors import NotFoundError, SettingsError
from avtomatika.files.job_files import JobFiles
from avtomatika.store import Queues, Store
from avtomatika.tokens import Clients, Workers

from . import EXTENSION
from .job_watcher import JobWatcher
from .long_poll import HeldRequests
from .throttling import FailureThrottle


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """*plans* are by blueprint name.

    *declare* makes their routes known to the broker once more; *watcher* wakes requests that are *held* until a job
    changes.
    """

    store: Store
    plans: Mapping[str, Plan]
    clients: Clients
    declare: Callable[[], None]
    throttle: FailureThrottle
    held: HeldRequests
    watcher: JobWatcher
    workers: Workers | None = None
    files: JobFiles | None = None

    @property
    def queues(self) -> Queues:
        """The queues that the jobs are in."""
        return self.store.queues

    def job_files(self) -> JobFiles:
        """The files of jobs; raises SettingsError where there is no place for any."""
        if self.files is None:
            raise SettingsError("this server keeps no files: S3_BUCKET is not set")
        return self.files

    def plan(self, blueprint: str) -> Plan:
        """The plan of *blueprint*; raises NotFoundError with the names that are like it."""
        if blueprint not in self.plans:
            raise NotFoundError("blueprint", blueprint, known=self.plans)
        return self.plans[blueprint]


def services() -> Services:
    """The Site of the app that serves this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
