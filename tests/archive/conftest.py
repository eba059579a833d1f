"""Jobs that end on the real server, and an archive for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'avtomatika[history]'")

from avtomatika import Blueprint, broker
from avtomatika.archive import open_archive
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine.moves import end
from avtomatika.core.shards import shard_prefixes
from avtomatika.store import Archive, Archiver, Commit, JobFilter, NewJob, Store
from avtomatika.store.keys import Keys
from avtomatika.transport import RedisClient, Router

from ..support.postgres import Postgres, find_postgres, running_postgres

bp = Blueprint(name="video", api_endpoint="jobs/video")


@bp.handler(is_start=True, is_end=True)
def start() -> None: ...


@dataclass
class Archived:
    """A store with an archive, and what moves its jobs there."""

    url: str
    store: Store
    archive: Archive
    archiver: Archiver
    client: redis.Redis
    keys: Keys
    _numbers: Iterator[int] = field(default_factory=count)

    def end(
        self, number: int = 1, *, status: JobStatus = JobStatus.FINISHED, error: Any = None, **new: Any
    ) -> list[str]:
        """Create and end *number* jobs, whose creation is a millisecond apart."""
        made = self.store.create_many([NewJob(plan=bp.plan, **{"client": "me", **new}) for _ in range(number)])
        jobs = [job for job in self.store.load_many([each.job_id for each in made]) if job is not None]
        changes = {"result": {"number": 1}} if error is None else {"error": error}
        replies = self.store.commit([Commit(job, end(job, status, None, **changes), ()) for job in jobs])
        assert all(reply.is_written for reply in replies)
        return [job.id for job in jobs]

    def new(self) -> NewJob:
        return NewJob(plan=bp.plan, client="me")

    def expire(self, job_ids: list[str]) -> None:
        """Let the retention of jobs on the server be over."""
        for job_id in job_ids:
            self.client.zadd(self.keys.of(job_id).retention(), {job_id: 0})

    def move(self, job_ids: list[str]) -> None:
        """Move ended jobs to the archive."""
        self.expire(job_ids)
        while self.archiver.run_once():
            pass
        assert not self.client.exists(*(self.keys.of(job_id).job(job_id) for job_id in job_ids))

    def ids(self, **wanted: Any) -> list[str]:
        """Return the ids of all jobs that match, by following the cursors."""
        found, cursor = list[str](), None
        while True:
            jobs, cursor = self.store.list_jobs(JobFilter(archived=True, cursor=cursor, **wanted))
            found += [job.id for job in jobs]
            if cursor is None:
                return found

    def whole(self, job_id: str) -> tuple[Job | None, list[Any], list[Any]]:
        return self.store.load(job_id), self.store.history(job_id)[0], self.store.notes(job_id)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the tests that do not kill it."""
    yield from start_postgres()


def start_postgres() -> Iterator[Postgres]:
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_postgres(programs) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an archive without jobs."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    uri: str = request.getfixturevalue("postgres").uri
    archive = open_archive(uri)
    assert archive is not None
    with closing(archive):
        archive.delete(ended_before_ms=2**53, limit=1_000_000)
    return uri


@pytest.fixture
def open_house(redis_url: str) -> Iterator[Callable[..., Archived]]:
    """Connect a store, an archive and an archiver."""
    opened: list[Archived] = []

    def open_(uri: str, *, url: str = redis_url, shards: int = 1, **options: Any) -> Archived:
        prefixes = shard_prefixes("g0", shards)
        with broker.connect(url, prefixes=prefixes) as connection:
            broker.declare(connection, [bp.plan])
        archive = open_archive(uri)
        assert archive is not None
        server = RedisClient.connect(url, prefixes=prefixes)
        archiver = Archiver(server, Router(server), archive=archive, **options)
        store = Store.connect(url, prefixes=prefixes, archive=archive)
        opened.append(Archived(url, store, archive, archiver, redis.Redis.from_url(url), Keys(*prefixes)))
        return opened[-1]

    yield open_
    for each in opened:
        for part in (each.store, each.archive, each.archiver, each.client):
            part.close()


@pytest.fixture
def house(open_house: Callable[..., Archived], uri: str) -> Archived:
    return open_house(uri)
