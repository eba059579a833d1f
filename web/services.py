"""The services that the views of one app use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import current_app

from avtomatika.core.names import is_user_name
from avtomatika.core.plan import Plan
from avtomatika.errors import NotFoundError, SettingsError
from avtomatika.files.job_files import JobFiles
from avtomatika.store import Queues, Store
from avtomatika.store.job_watcher import JobWatcher
from avtomatika.tokens import Clients, Workers

from . import EXTENSION
from .client_limits import ClientLimits
from .long_poll import HeldRequests
from .throttling import FailureThrottle


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of one app; *plans* are by blueprint name.

    *declare* declares their routes on the broker again, and the queues of the skills that it is given. *watcher* wakes
    *held* requests when a job changes.
    """

    store: Store
    plans: Mapping[str, Plan]
    clients: Clients
    declare: Callable[..., None]
    throttle: FailureThrottle
    held: HeldRequests
    watcher: JobWatcher
    limits: ClientLimits
    workers: Workers | None = None
    files: JobFiles | None = None

    @property
    def queues(self) -> Queues:
        """The queues of the broker."""
        return self.store.queues

    def job_files(self) -> JobFiles:
        """Return the files of jobs. Raises SettingsError if no storage is configured."""
        if self.files is None:
            raise SettingsError("this server stores no files: S3_BUCKET is not set")
        return self.files

    def plan(self, blueprint: str) -> Plan:
        """Return the plan of *blueprint*. Raises NotFoundError with similar names."""
        if blueprint not in self.plans:
            raise NotFoundError("blueprint", blueprint, known=[name for name in self.plans if is_user_name(name)])
        return self.plans[blueprint]


def services() -> Services:
    """Return the services of the current app."""
    found: Services = current_app.extensions[EXTENSION]
    return found
