"""The tables of the archive, and their creation."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from avtomatika.errors import HistoryUnavailableError

#: Version of the tables. For a new table or index, add it and increase the version.
VERSION = 1
#: Any number: a lock of PostgreSQL that processes hold while they create the tables.
_LOCK = 7_160_214
#: Databases and their kind of INSERT, which can replace rows.
INSERTS: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_metadata = sa.MetaData()
#: Ids are ordered as in the lists of the server, by their bytes.
_ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")

versions = sa.Table("avtomatika_versions", _metadata, sa.Column("version", sa.Integer, primary_key=True))
#: ``searched`` is what the filter *text* looks in, in lower case; the last columns are the bytes that the server had.
jobs = sa.Table(
    "avtomatika_jobs",
    _metadata,
    sa.Column("id", _ID, primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("created_ms", "ended_ms", "version")),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("status", "blueprint", "client", "searched")),
    *(sa.Column(name, sa.Text) for name in ("skill", "state")),
    *(sa.Column(name, sa.LargeBinary) for name in ("doc", "init", "large_values", "history", "notes")),
    sa.Index("avtomatika_jobs_ended", "ended_ms"),
    sa.Index("avtomatika_jobs_created", "created_ms", "id"),
    *(sa.Index(f"avtomatika_jobs_{name}", name, "created_ms", "id") for name in ("status", "blueprint", "client")),
)
labels = sa.Table(
    "avtomatika_labels",
    _metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("name", "value")),
    sa.Column("job_id", _ID, primary_key=True, index=True),
)


def create_tables(connection: sa.Connection) -> None:
    """Create the tables and indexes that are missing. Raises HistoryUnavailableError if a later version did."""
    if connection.dialect.name == "postgresql":  # CREATE ... IF NOT EXISTS fails if two processes do it at once
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    for table in _metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))
    found = max(connection.scalars(sa.select(versions.c.version)), default=0)
    if found > VERSION:
        raise HistoryUnavailableError(f"the history database has version {found}, but this program knows {VERSION}")
    connection.execute(INSERTS[connection.dialect.name](versions).on_conflict_do_nothing(), {"version": VERSION})
