"""SQLite: one file, sqlite:///file.db."""

from .adapter import SqliteAdapter, SqliteSettings

__all__ = ["SqliteAdapter", "SqliteSettings"]
