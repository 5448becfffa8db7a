"""What SQLite's errors become: ours, which say whether anything was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from openmem.errors import ConfigurationError, OMPError, ProviderError, ProviderUnavailableError, Written


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection is in the way."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def locked(path: Path) -> OMPError:
    """Say that others have been writing for too long."""
    return ProviderUnavailableError(
        f"{path} is locked by another writer.",
        remedy="Raise busy_timeout, or find what holds the lock.",
        written="nothing",
    )


def translated(error: sqlite3.Error, path: Path, written: Written = "nothing") -> OMPError:
    """Say what an error of SQLite means; written: whether the transaction it ended may be stored all the same."""
    if is_busy(error):
        return locked(path)
    code = code_of(error)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN):
        return no_database(path)
    if code == sqlite3.SQLITE_READONLY:
        return only_read(path)
    return ProviderError(f"SQLite failed: {error}.", remedy=f"Check the disk and the file {path}.", written=written)


def no_database(path: Path) -> OMPError:
    """Say that a file cannot be opened."""
    return ConfigurationError(f"{path} cannot be opened as a database.", remedy="Check the path and its rights.")


def only_read(path: Path) -> OMPError:
    """Say that a store cannot be written."""
    return ConfigurationError(
        f"{path} can only be read here.",
        remedy="Allow writing to the file and its folder, or make room, then open it anew.",
    )
