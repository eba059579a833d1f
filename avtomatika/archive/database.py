"""The archive on a database."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, SQLAlchemyError

from avtomatika.core.job import Job
from avtomatika.errors import HistoryUnavailableError, SettingsError
from avtomatika.store import JobFilter, Position, StoredJob, load_job

from .schema import INSERTS, create_tables, jobs, labels

logger = logging.getLogger(__name__)

#: Time limits of connecting, of one statement, and of unacknowledged data on a connection.
_CONNECT_SECONDS, _STATEMENT_MS, _SILENT_MS = 5, 30_000, 10_000
_FOUND = (jobs.c.id, jobs.c.version, jobs.c.status, jobs.c.doc, jobs.c.init, jobs.c.created_ms, jobs.c.ended_ms)
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "sqlite": "sqlite"}


class HistoryDatabase:
    """Ended jobs in the tables of :mod:`.schema`, created with the first connection. Thread-safe."""

    def __init__(self, uri: str) -> None:
        """Raises SettingsError for an invalid *uri*, ImportError if its driver is missing."""
        url = _url(uri)
        options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _SILENT_MS}
        options["options"] = f"-c statement_timeout={_STATEMENT_MS}"
        options = {"timeout": _CONNECT_SECONDS} if url.get_backend_name() == "sqlite" else options
        limits: dict[str, Any] = {"pool_size": 2, "max_overflow": 4, "pool_timeout": _CONNECT_SECONDS}
        self._engine = sa.create_engine(url, connect_args=options, hide_parameters=True, pool_pre_ping=True, **limits)
        self._insert = INSERTS[self._engine.dialect.name]
        self._is_created = False

    def save(self, stored_jobs: Sequence[StoredJob]) -> frozenset[str]:
        try:
            self._save(sorted(stored_jobs, key=lambda job: job.id))  # in one order, so that processes never deadlock
        except DataError as error:
            if len(stored_jobs) == 1:
                logger.error("the history database refuses job %s: %s", stored_jobs[0].id, error.orig)
                return frozenset()
            return frozenset().union(*(self.save([job]) for job in stored_jobs))
        return frozenset(job.id for job in stored_jobs)

    def _save(self, stored_jobs: Sequence[StoredJob]) -> None:
        loaded = [(stored, job) for stored in stored_jobs if (job := stored.load()) is not None]
        rows = [_row(stored, job) for stored, job in loaded]
        tags = [{"name": n, "value": value, "job_id": job.id} for _, job in loaded for n, value in job.labels.items()]
        upsert = self._insert(jobs)
        changed = {column.name: upsert.excluded[column.name] for column in jobs.c if not column.primary_key}
        with self._transaction() as connection:
            if rows:
                connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_=changed), rows)
            if tags:  # labels never change
                connection.execute(self._insert(labels).on_conflict_do_nothing(), tags)

    def load(self, job_id: str) -> StoredJob | None:
        with self._transaction() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            return None
        values = {name: value.encode() for name, value in orjson.loads(row.large_values).items()}
        return StoredJob(row.id, _job_fields(row), values, row.history.splitlines(), row.notes.splitlines())

    def find(self, wanted: JobFilter, after: Position | None) -> list[Job]:
        with self._transaction() as connection:
            rows = connection.execute(_query(wanted, after).limit(wanted.limit + 1)).all()
        return [job for row in rows if (job := load_job(row.id, _job_fields(row))) is not None]

    def delete(self, *, ended_before_ms: int, limit: int) -> None:
        with self._transaction() as connection:
            old = sa.select(jobs.c.id).where(jobs.c.ended_ms < ended_before_ms).order_by(jobs.c.ended_ms).limit(limit)
            ids = list(connection.scalars(old))
            connection.execute(sa.delete(labels).where(labels.c.job_id.in_(ids)))
            connection.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Raises HistoryUnavailableError, or DataError if the database cannot store a value."""
        try:
            if not self._is_created:
                with self._engine.begin() as connection:
                    create_tables(connection)
                self._is_created = True
            with self._engine.begin() as connection:
                yield connection
        except DataError:
            raise
        except SQLAlchemyError as error:  # without the statement, which may be long
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            text = f"the history database is unavailable: {type(error).__name__}: {reason}"
            raise HistoryUnavailableError(text) from error


def _url(uri: str) -> sa.URL:
    try:
        url = sa.make_url(uri)
        if not url.database:
            raise KeyError
        return url.set(drivername=_DRIVERS[url.get_backend_name()])
    except (ArgumentError, KeyError):
        raise SettingsError("HISTORY_DATABASE_URI is not like postgresql://... or sqlite:///history.db") from None


def _row(stored: StoredJob, job: Job) -> dict[str, Any]:
    _, _, doc, init, *_ = stored.row
    problem = job.error or {}
    same = ("id", "version", "status", "created_ms", "blueprint", "client", "skill")
    row = {name: getattr(job, name) for name in same} | {
        "ended_ms": job.updated_ms,
        "state": job.current_state,
        "searched": _lower(f"{problem.get('code')}\n{problem.get('message')}"),
        "doc": doc or b"",
        "init": init or b"",
        "large_values": orjson.dumps({name: value.decode(errors="replace") for name, value in stored.values.items()}),
        "history": b"\n".join(stored.history),  # JSON without line breaks
        "notes": b"\n".join(stored.notes),
    }
    return {name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in row.items()}


def _job_fields(row: Any) -> list[bytes]:
    """Return the fields of a job in the order of JOB_FIELDS."""
    numbers = [str(each).encode() for each in (row.version, row.created_ms, row.ended_ms)]
    return [numbers[0], row.status.encode(), row.doc, row.init, *numbers[1:]]


def _query(wanted: JobFilter, after: Position | None) -> sa.Select[Any]:
    """Return the query of the jobs that match, in the order of the list."""
    equal = {"client": wanted.client, "blueprint": wanted.blueprint, "skill": wanted.skill, "state": wanted.state}
    wants: list[Any] = [jobs.c[name] == value for name, value in equal.items() if value is not None]
    if wanted.statuses:
        wants.append(jobs.c.status.in_(wanted.statuses))
    for name, value in wanted.labels:
        tag = (labels.c.job_id == jobs.c.id) & (labels.c.name == name) & (labels.c.value == value)
        wants.append(sa.exists().where(tag))
    if wanted.created_after_ms is not None:
        wants.append(jobs.c.created_ms >= wanted.created_after_ms)
    if wanted.created_before_ms is not None:
        wants.append(jobs.c.created_ms < wanted.created_before_ms)
    if wanted.text:
        wants.append(jobs.c.searched.contains(_lower(wanted.text), autoescape=True))
    place = (jobs.c.created_ms, jobs.c.id)
    if after is not None:
        here, there = sa.tuple_(*place), sa.tuple_(*after)
        wants.append(here > there if wanted.oldest_first else here < there)
    order = place if wanted.oldest_first else [column.desc() for column in place]
    return sa.select(*_FOUND).where(*wants).order_by(*order)


def _lower(text: str) -> str:
    """Return *text* as the server compares it: ignoring the case of ASCII letters only."""
    return text.encode().lower().decode()
