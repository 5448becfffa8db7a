"""SQLite: one file, sqlite:///file.db."""

from .adapter import SqliteAdapter
from .settings import SqliteSettings

__all__ = ["SqliteAdapter", "SqliteSettings"]
