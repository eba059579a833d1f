"""The result of a run in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from avtomatika.core.job import Job, JobStatus, Json, RecordedEntry
from avtomatika.orchestrator.data_stores import DataStores


@dataclass(frozen=True, slots=True)
class RunResult:
    """A job that has ended, is quarantined, or waits for something that never happens.

    ``history`` has times in milliseconds since the start of the first job; ``notes`` are the ignored events;
    ``data_stores`` are those of its blueprint after the run; ``children`` are the child jobs, in order; ``files`` are
    the values that ``task_files`` can read, by URI.
    """

    job: Job
    history: tuple[RecordedEntry, ...]
    notes: tuple[Mapping[str, Json], ...]
    data_stores: DataStores = field(repr=False)
    children: "tuple[RunResult, ...]" = ()
    files: Mapping[str, Json] = field(default_factory=dict, repr=False)

    @property
    def status(self) -> JobStatus:
        return self.job.status

    @property
    def result(self) -> Json:
        return self.job.result

    @property
    def error(self) -> Mapping[str, Json] | None:
        return self.job.error

    @property
    def job_data(self) -> Mapping[str, Json]:
        return self.job.state_history

    @property
    def state_history(self) -> Mapping[str, Json]:
        """The earlier name of :attr:`job_data`."""
        return self.job_data

    @property
    def states(self) -> tuple[str, ...]:
        """The states that it entered, in order."""
        entries = (recorded.entry for recorded in self.history)
        return tuple(str(entry.state) for entry in entries if entry.event_type == "state_entered")

    @property
    def seconds(self) -> float:
        """The duration by the simulated clock."""
        return (self.history[-1].timestamp_ms - self.history[0].timestamp_ms) / 1000
