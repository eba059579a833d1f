"""Ended jobs in SQLite or PostgreSQL, by SQLAlchemy Core, which is imported when an archive is opened."""

from avtomatika.errors import SettingsError
from avtomatika.store import Archive


def open_archive(uri: str | None) -> Archive | None:
    """Return the archive at *uri*, which is connected to with its first use; None without a URI.

    Raises SettingsError if the packages of the extra ``history`` are missing, or the URI is invalid.
    """
    if uri is None:
        return None
    try:
        from .database import HistoryDatabase

        return HistoryDatabase(uri)
    except ImportError as error:
        text = f"HISTORY_DATABASE_URI needs {error.name}: pip install 'avtomatika[history]'"
        raise SettingsError(text) from None
